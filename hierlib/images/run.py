"""Figures 2 and 16 from end to end: ``python -m hierlib.images.run --help``. A killed run goes on where it was.

Images are taken through U-turns and looked at by several networks; what the chapters plot is written into one small
file for each network.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from hierlib.images.adm import load_model
from hierlib.images.classifier import load_classifier
from hierlib.images.data import fashion_mnist, image_folder
from hierlib.images.models import DiffusionModel
from hierlib.images.probe import ARCHITECTURES, LayerSimilarity, Probe, baseline, cnn_probe, compare, statistics
from hierlib.images.probe import torchvision_probe as from_torchvision
from hierlib.images.sampler import uturns
from hierlib.networks import _read, _write


def open_images(folder: Path, model: DiffusionModel, per_class: int, *, seed: int = 0) -> Tensor | Sequence:
    """Images for a model, the same number of each class: from Fashion-MNIST's files or from a folder of classes.

    Grey and CMYK files are converted, as ADM's own reader does. Errors are those of `hierlib.images.data`.
    """
    if list(Path(folder).glob("t10k-images-idx3-ubyte*")):
        return fashion_mnist("test", folder=folder).choose(per_class, seed).images
    return image_folder(folder, per_class=per_class, size=model.size, seed=seed, convert=True)


def open_probe(word: str, device) -> Probe:
    """A network from one word: FILE (of a classifier trained here), or NAME=FILE, NAME=download, NAME=random.

    Raises:
        ValueError: it is none of these, or the file is wrong.
    """
    name, _, where = word.partition("=")
    if name in ARCHITECTURES and where:
        given = dict(download=dict(download=True), random=dict(random_seed=0)).get(where, dict(weights=Path(where)))
        probe = from_torchvision(name, **given)
    elif Path(word).suffix == ".safetensors":
        probe = cnn_probe(load_classifier(Path(word))[0], Path(word).stem)
    else:
        raise ValueError(
            f"--probe: expected FILE.safetensors, NAME=FILE, NAME=download or NAME=random with NAME of "
            f"{', '.join(ARCHITECTURES)}, got {word!r}"
        )
    probe.network.to(device)
    return probe


def save_layers(path: Path, found: dict[int, LayerSimilarity], unrelated: LayerSimilarity, about: dict) -> None:
    """Write what a network made of U-turns: cosine (float32) and class kept, of every image, layer and time."""
    tensors = {"k": torch.tensor(list(found)), "baseline": unrelated.cosine.float().contiguous()}
    tensors["cosine"] = torch.stack([alike.cosine for alike in found.values()]).float()
    tensors["kept"] = torch.stack([alike.kept for alike in found.values()])
    _write(path, tensors, about | dict(layers=unrelated.layers))


def load_layers(path: Path) -> tuple[dict[int, LayerSimilarity], LayerSimilarity, dict]:
    """Read what `save_layers` wrote: k → `LayerSimilarity`, the baseline of unrelated images, and what made them.

    Raises:
        ValueError: the file is another one.
    """
    tensors, about = _read(path)
    try:
        layers, cosine, kept = about["layers"], tensors["cosine"].double(), tensors["kept"]
        found = {k: LayerSimilarity(layers, c, s) for k, c, s in zip(tensors["k"].tolist(), cosine, kept, strict=True)}
        base = tensors["baseline"].double()
        return found, LayerSimilarity(layers, base, torch.zeros(len(base), dtype=torch.bool)), about
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: expected a file of hierlib.images.run, got {error!r}; run it again") from error


def main(argv: list[str] | None = None) -> int:
    """Entry point; exit code 2 if an input is wrong."""
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except ValueError as error:
        print(f"hierlib.images.run: {error}", file=sys.stderr)
        return 2


def _run(options) -> int:
    model = load_model(options.model, options.weights, download=options.download, device=options.device)
    probes = {word: open_probe(word, model.device) for word in options.probe}  # before the hours that follow
    images = open_images(options.images, model, options.per_class, seed=options.seed)
    wide = open_images(options.images, model, options.statistics_per_class or options.per_class, seed=options.seed)
    settings = dict(steps=options.steps, seed=options.seed, batch=options.batch, matched=options.matched)
    turns = options.folder / "images"
    for _ in uturns(model, images, options.k, **settings, truncate=options.truncate, folder=turns):
        pass
    for word, probe in probes.items():
        path = options.folder / f"layers-{probe.name.replace(', ', '-').replace(' ', '-')}.safetensors"
        if path.exists():
            print(f"{path} is there already", file=sys.stderr)
            continue
        raw = dict(raw_second_moment=options.raw_second_moment)
        rng = torch.Generator().manual_seed(options.seed)
        moments = statistics(probe, wide, options.batch)
        unrelated = baseline(probe, wide, moments, generator=rng, batch=options.batch, **raw)
        again = uturns(model, images, options.k, **settings, truncate=options.truncate, folder=turns, show=False)
        found = compare(probe, again, moments, jpeg_quality=options.jpeg_quality, **raw)
        about = dict(model=model.name, digest=model.digest, probe=probe.name, trained=probe.trained, weights=word)
        about |= settings | raw | dict(truncate=options.truncate, jpeg_quality=options.jpeg_quality)
        about |= dict(images=len(images), per_class=options.per_class, of_statistics=len(wide))
        save_layers(path, found, unrelated, json.loads(json.dumps(about, default=str)))
        print(f"wrote {path}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hierlib.images.run", description=__doc__)
    add = parser.add_argument
    add("--model", default="small", help="small, adm256 or pipeline")
    add("--weights", type=Path, required=True, help="file or folder of the model")
    add("--download", action="store_true", help="fetch the weights of adm256 (2.2 GB) to --weights if they are missing")
    add("--images", type=Path, required=True, help="one folder of files a class, or Fashion-MNIST's files")
    add("--per-class", type=int, default=10, help="images of each class")
    add("--statistics-per-class", type=int, help="images of each class that activations are standardised over")
    add("--k", type=int, nargs="+", required=True, help="inversion times, in steps")
    add("--steps", type=int, default=250, help="of the respaced process")
    add("--probe", nargs="+", required=True, help="FILE.safetensors, or NAME=FILE, NAME=download, NAME=random")
    add("--folder", type=Path, required=True, help="where results go, and where a killed run goes on")
    add("--batch", type=int, default=32)
    add("--seed", type=int, default=0)
    add("--device", help="cuda or cpu")
    add("--matched", action="store_true", help="noise to the index that denoising starts from")
    add("--truncate", action="store_true", help="8 bits by truncation, as in the authors' code")
    add("--raw-second-moment", action="store_true", help="standardise as in the authors' code")
    add("--jpeg-quality", type=int, help="put samples through JPEG, as in the authors' code")
    return parser


if __name__ == "__main__":
    sys.exit(main())
