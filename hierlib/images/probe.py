"""The layer probe for images: which networks, which of their layers, how two images compare (figures 2 and 16)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import hierlib._torchvision  # noqa: F401
from hierlib._finite import finite
from hierlib.experiments.curves import bootstrap
from hierlib.images.classifier import ImageCNN
from hierlib.images.download import sha256_of
from hierlib.images.files import as_jpeg
from hierlib.images.pretrained import read_weights, sizes_for, sizes_of
from hierlib.images.sampler import Images, UTurns
from hierlib.networks.probe import ADVICE, Activations, Comparison, Moments, Similarity, moments

ARCHITECTURES = ("convnext_base", "resnet50", "wide_resnet50_2", "resnet152")  #: of the paper, all in torchvision
IMAGENET: dict[str, Any] = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Probe:
    """A network and the nodes that are looked at; called with images, it gives their activations.

    Attributes:
        network: in evaluation mode, on its device.
        nodes: names for torchvision's `create_feature_extractor` → names for people, in order; the last are logits.
        resize, crop: pixels of the shorter side and of the square in the middle, which is not larger; None leaves the
            images as they are.
        mean, std: of each channel, that images in [0, 1] are normalised with.
        name: of the network.
        trained: False for random weights, which no figure may show as a result.
        classes: name of each logit, if known.
        digest: sha256 of the file of the weights, or "" if they are not from a file.
    """

    network: nn.Module
    nodes: Mapping[str, str]
    resize: int | None = None
    crop: int | None = None
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    name: str = "network"
    trained: bool = True
    classes: tuple[str, ...] = ()
    digest: str = ""
    _extract: nn.Module = field(init=False, repr=False)

    def __post_init__(self) -> None:
        from torchvision.models.feature_extraction import create_feature_extractor

        if self.resize is not None and self.crop is not None and self.crop > self.resize:
            raise ValueError(
                f"{self.name}: expected a crop of at most the {self.resize} pixels that images are resized to, got "
                f"{self.crop}, which would frame them in black; are the two swapped?"
            )
        try:
            extract = create_feature_extractor(self.network.eval(), dict(self.nodes))
        except ValueError as error:
            raise ValueError(
                f"{self.name}: expected nodes of the network, got {error}; see get_graph_node_names"
            ) from error
        object.__setattr__(self, "_extract", extract.eval())

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in order."""
        return list(self.nodes.values())

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Activations of uint8 images (n, channels, height, width): layer → (n, channels, h, w) or (n, units).

        Raises:
            ValueError: the images have another type or number of channels.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != len(self.mean):
            raise ValueError(
                f"images: expected uint8 of shape (n, {len(self.mean)}, height, width) for {self.name}, got "
                f"{images.dtype} {tuple(images.shape)}; convert them"
            )
        weight = next(self.network.parameters())
        out = self._extract(self.preprocess(images.to(weight.device)).to(weight.dtype))
        return {name: out[name] for name in self.layers}

    def preprocess(self, images: Tensor) -> Tensor:
        """Resize, crop and normalise as torchvision's `ImageClassification` does for its weights.

        Raises:
            ValueError: the images are smaller than the crop, which torchvision would fill up with black.
        """
        from torchvision.transforms import functional as F

        if self.resize is not None:
            images = F.resize(images, self.resize, antialias=True)
        if self.crop is not None:
            if min(images.shape[-2:]) < self.crop:
                raise ValueError(
                    f"images: expected at least the {self.crop} pixels a side that {self.name} looks at, got "
                    f"{images.shape[-2]} × {images.shape[-1]}; give it a size to resize them to"
                )
            images = F.center_crop(images, self.crop)
        return F.normalize(F.convert_image_dtype(images, torch.float32), self.mean, self.std)


def torchvision_probe(
    name: str,
    *,
    weights: Path | None = None,
    download: bool = False,
    random_seed: int | None = None,
    resize: int | None = None,
    crop: int | None = None,
) -> Probe:
    """A network of torchvision with the nodes that the paper looks at.

    Images are prepared as the weights want it: torchvision says so of those that it publishes, which are known by their
    digest (232 pixels resized to for IMAGENET1K_V2, 256 for IMAGENET1K_V1 of the ResNets).

    Args:
        name: of `ARCHITECTURES`.
        weights: file of torchvision's weights (.pth, or safetensors).
        download: let torchvision fetch its default weights (98 to 338 MB), checked against its own digest.
        random_seed: draw random weights instead, for tests and as an untrained control.
        resize, crop: pixels, where it is not what the weights want; other weights than torchvision's need both, here or
            in a json beside the file: {"resize": 232, "crop": 224}, and are normalised as torchvision's are.

    Raises:
        ValueError: none or several of the three are given, the name is unknown, the file is of another network or not
            finite, nothing is known of how its images are prepared, or they cannot be prepared so.
    """
    from torchvision import models

    if name not in ARCHITECTURES:
        raise ValueError(f"name: expected one of {', '.join(ARCHITECTURES)}, got {name!r}")
    if (weights is not None) + download + (random_seed is not None) != 1:
        raise ValueError("expected one of weights=FILE, download=True and random_seed=NUMBER, got none or several")
    default, digest = models.get_model_weights(name).DEFAULT, ""
    if download:
        with torch.device("cpu"):
            network = models.get_model(name, weights=default)
        weights = Path(torch.hub.get_dir()) / "checkpoints" / Path(default.url).name
    else:
        with torch.device("cpu"), torch.random.fork_rng([]):  # the layers draw their weights from torch's own generator
            torch.manual_seed(random_seed or 0)
            network = models.get_model(name, weights=None)
    size: dict[str, Any] = {key: pixels for key, pixels in dict(resize=resize, crop=crop).items() if pixels is not None}
    if weights is None:
        size = sizes_of(default) | size
    else:
        network.load_state_dict(read_weights(weights, network))
        digest = sha256_of(weights)
        size = sizes_for(name, weights, digest, size)
    trained = random_seed is None
    title = name if trained else f"{name}, random weights"
    nodes = {node: node for node in node_list(network)}
    classes = tuple(default.meta["categories"])
    about: dict[str, Any] = dict(name=title, trained=trained, classes=classes, digest=digest)
    return Probe(network.requires_grad_(False), nodes, **size, **IMAGENET, **about)


def node_list(network: nn.Module) -> list[str]:
    """Stem, every block, every downsampler and the logits of a ConvNeXt; every block and the logits of a ResNet.

    Raises:
        ValueError: it is neither; name the nodes and make a `Probe` yourself.
    """
    from torchvision.models import ConvNeXt, ResNet
    from torchvision.models.convnext import CNBlock
    from torchvision.models.resnet import BasicBlock, Bottleneck

    if isinstance(network, ResNet):
        blocks = [name for name, module in network.named_modules() if isinstance(module, Bottleneck | BasicBlock)]
        return [*blocks, "fc"]
    if isinstance(network, ConvNeXt):
        nodes = []
        for i, stage in enumerate(network.features):
            inside = [f"features.{i}.{j}" for j, block in enumerate(stage) if isinstance(block, CNBlock)]
            nodes += inside or [f"features.{i}"]
        return [*nodes, "classifier"]
    raise ValueError(f"network: expected a ResNet or ConvNeXt, got {type(network).__name__}; give Probe its nodes")


def cnn_probe(
    network: ImageCNN, name: str = "CNN", *, trained: bool = True, classes: Sequence[str] = (), digest: str = ""
) -> Probe:
    """A small classifier with all its layers.

    Args:
        network: from `hierlib.images.classifier.load_classifier`.
        name, trained, classes, digest: see `Probe`.
    """
    half = (0.5,) * network.config["channels"]
    return Probe(
        *(network, network.nodes),
        mean=half,
        std=half,
        name=name,
        trained=trained,
        classes=tuple(classes),
        digest=digest,
    )


def predict(probe: Probe, images: Images, batch: int = 256) -> Tensor:
    """The class with the largest logit of each image.

    Args:
        probe: the network.
        images: uint8 (n, channels, height, width), or anything that gives such a tensor for a slice.
        batch: images at once.

    Returns:
        (n,) int64, on the CPU.

    Raises:
        ValueError: logits are not finite.
    """
    parts = (images[i : i + batch] for i in range(0, len(images), batch))
    logits = (finite(probe(part)[probe.layers[-1]], f"logits of {probe.name}", ADVICE) for part in parts)
    return torch.cat([each.argmax(1).cpu() for each in logits])


class LayerSimilarity(NamedTuple):
    """How alike start and end are to every layer, for one inversion time, over all images."""

    layers: list[str]
    cosine: Tensor  #: (n, layers) float64
    kept: Tensor  #: (n,) bool, whether the network gives start and end the same class

    def mean(self) -> Tensor:
        """(layers,) mean over images."""
        return self.cosine.mean(0)

    def standard_error(self) -> Tensor:
        """(layers,) standard error of the mean over images."""
        return self.cosine.std(0) / len(self.cosine) ** 0.5

    def histogram(self, bins: int = 40) -> Tensor:
        """(layers, bins) fractions of the images whose cosine falls into equal bins from -1 to 1.

        Raises:
            ValueError: a cosine is not finite, so falls into none.
        """
        return self._binned(bins).mean(0)

    def peak(self, bins: int = 40) -> Tensor:
        """(layers,) middle of the fullest bin, which is what the paper plots; of equally full ones their mean."""
        return torch.from_numpy(_fullest(self.histogram(bins).numpy()))

    def peak_interval(self, bins: int = 40, *, seed: int = 0, num: int = 1000) -> tuple[Tensor, Tensor]:
        """(layers,) twice: where 95 % of the peaks lie when the images are drawn again with replacement.

        Args:
            bins: equal bins from -1 to 1.
            seed: of the drawing.
            num: of resamplings.
        """
        low, high = bootstrap(_fullest, self._binned(bins).numpy(), seed=seed, num=num)
        return torch.from_numpy(low), torch.from_numpy(high)

    def _binned(self, bins: int) -> Tensor:
        finite(self.cosine, "cosine similarity", "measure it again")
        index = ((self.cosine + 1) / 2 * bins).long().clamp(0, bins - 1)
        return nn.functional.one_hot(index, bins).double()


def _fullest(counts: np.ndarray) -> np.ndarray:
    bins = counts.shape[-1]
    middle = (np.arange(bins) + 0.5) * 2 / bins - 1
    fullest = counts > counts.max(-1, keepdims=True) - 1e-12  # counts are sums of fractions
    return (fullest * middle).sum(-1) / fullest.sum(-1)


def statistics(probe: Probe, images: Images, batch: int = 64) -> dict[str, Moments]:
    """Streaming moments of every layer over a set of images, for `compare`.

    Args:
        probe: the network.
        images: uint8 (n, channels, height, width), or anything that gives such a tensor for a slice.
        batch: images at once.

    Raises:
        ValueError: a layer is not finite.
    """
    return moments(probe, (images[i : i + batch] for i in range(0, len(images), batch)))


def compare(
    probe: Probe,
    batches: Iterable[UTurns],
    moments: Mapping[str, Moments],
    *,
    raw_second_moment: bool = False,
    jpeg_quality: int | None = None,
    batch: int = 25,
) -> dict[int, LayerSimilarity]:
    """Cosine similarity in every layer of images and what they became.

    Args:
        probe: the network.
        batches: from `hierlib.images.sampler.uturns`, in any order; what follows each other with the same starts looks
            at them once.
        moments: from `statistics`, over images that stand for the data.
        raw_second_moment: standardise by √E[a²], as the authors' code does.
        jpeg_quality: put the samples, and only them, through JPEG first, as the authors' code does.
        batch: images that the network sees at once; few, so that their activations stay in the cache.

    Returns:
        Inversion time k → `LayerSimilarity`.

    Raises:
        ValueError: activations are not finite; the layer is named.
    """
    parts: dict[int, list] = {}
    comparison = Comparison(moments, raw_second_moment=raw_second_moment)
    for same in _of_one_start(batches):
        for i in range(0, len(same[0].start), batch):
            a = probe(same[0].start[i : i + batch])
            squares = comparison.squares(a)
            for u in same:
                end = u.end[i : i + batch]
                b = probe(end if jpeg_quality is None else as_jpeg(end, jpeg_quality))
                alike = comparison.similarity(a, b, squares)
                kept = a[probe.layers[-1]].argmax(1) == b[probe.layers[-1]].argmax(1)
                parts.setdefault(u.k, []).append((_columns(alike), kept.cpu()))
    return {k: _joined(probe, rows) for k, rows in parts.items()}


def _joined(probe: Probe, parts: Sequence[tuple[Tensor, Tensor]]) -> LayerSimilarity:
    return LayerSimilarity(probe.layers, torch.cat([c for c, _ in parts]), torch.cat([s for _, s in parts]))


def _of_one_start(batches: Iterable[UTurns]) -> Iterator[list[UTurns]]:
    """Runs of batches whose starts are equal."""
    same: list[UTurns] = []
    for u in batches:
        if same and not (u.start is same[0].start or torch.equal(u.start, same[0].start)):
            yield same
            same = []
        same.append(u)
    if same:
        yield same


def baseline(
    probe: Probe,
    images: Images,
    moments: Mapping[str, Moments],
    *,
    generator: torch.Generator,
    raw_second_moment: bool = False,
    batch: int = 64,
) -> LayerSimilarity:
    """The same for pairs of unrelated images: each with another one, drawn at random; each is looked at once.

    Args:
        probe, moments, raw_second_moment: as for `compare`.
        images: uint8 (n, channels, height, width), or anything that gives such a tensor for a slice.
        generator: draws who is whose other one.
        batch: images at once.

    Raises:
        ValueError: there are fewer than two images.
    """
    if len(images) < 2:
        raise ValueError(f"images: expected at least two, got {len(images)}")
    order = torch.randperm(len(images), generator=generator, device=generator.device).cpu()
    comparison = Comparison(moments, raw_second_moment=raw_second_moment)
    # One circle through all, each beside the one before it: nobody is its own partner, and each is looked at once.
    first: Activations = {}
    before, parts = first, []
    for i in range(0, len(images), batch):
        a = probe(torch.stack([images[int(j)] for j in order[i : i + batch]]))
        first = first or {name: x[:1] for name, x in a.items()}
        parts.append(_neighbours(comparison, before, a))
        before = {name: x[-1:] for name, x in a.items()}
    parts.append(_neighbours(comparison, before, first))
    around = _joined(probe, parts)
    place = torch.empty_like(order)  # of each image among them: order[0] comes last, beside order[-1]
    place[order.roll(-1)] = torch.arange(len(images), device="cpu")
    return LayerSimilarity(around.layers, around.cosine[place], around.kept[place])


def _neighbours(comparison: Comparison, before: Activations, a: Activations) -> tuple[Tensor, Tensor]:
    """Cosines and whether the class is the same, of images that follow each other, the first after the one before."""
    row = {name: torch.cat([before[name], x]) for name, x in a.items()} if before else a
    classes = row[list(row)[-1]].argmax(1)
    return _columns(comparison.of_neighbours(row)), (classes[1:] == classes[:-1]).cpu()


def _columns(alike: Similarity) -> Tensor:
    return torch.stack(list(alike.cosine.values()), 1).cpu()
