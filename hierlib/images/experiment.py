"""What an experiment on images starts from: a model, networks that look, images, and their U-turns."""

from __future__ import annotations

import glob
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hierlib._paths import Nothing, each_word, located, typed
from hierlib.images.adm import load_model
from hierlib.images.classifier import load_classifier
from hierlib.images.data import ImageFiles, LabelledImages, idx_images, image_folder, said
from hierlib.images.files import idx_there
from hierlib.images.models import DiffusionModel
from hierlib.images.probe import ARCHITECTURES, Probe, cnn_probe, torchvision_probe
from hierlib.images.sampler import UTurns, uturns
from hierlib.images.storage import gathered, inputs_of, stored_uturns

TIMES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  #: t/T


def open_images(
    folder: Path, model: DiffusionModel | None, per_class: int, *, seed: int = 0
) -> LabelledImages | ImageFiles:
    """Images for a model, the same number of each class: from files in MNIST's format or from a folder of classes.

    Classes alternate, so that the first images are of all classes. Grey and CMYK files are converted, as ADM's own
    reader does.

    Args:
        folder: with t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, or with one folder of files for each class.
        model: that they are for; None: any, if they are in MNIST's format.
        per_class: images of each class.
        seed: of the choice.

    Raises:
        ValueError: as `hierlib.images.data`; or the images are not of the model's size and channels.
    """
    folder = Path(folder)
    found: LabelledImages | ImageFiles
    if idx_there(folder / "t10k-images-idx3-ubyte"):
        found = idx_images("test", folder=folder).choose(per_class, seed)
        shape = tuple(found.images.shape[1:])
    elif model is None:
        raise ValueError(f"{folder}: expected images in MNIST's format where no model tells their size, got none")
    else:
        found = image_folder(folder, per_class=per_class, size=model.size, seed=seed, convert=True)
        shape = (3, model.size, model.size)
    if model is not None and shape != (model.channels, model.size, model.size):
        expected = " × ".join(map(str, (model.channels, model.size, model.size)))
        raise ValueError(
            f"{folder}: expected images of {expected} (channels, rows, columns) for {model.name}, got "
            f"{' × '.join(map(str, shape))}; take other images or another model"
        )
    order = torch.arange(len(found), device="cpu").reshape(-1, per_class).T.flatten()
    if isinstance(found, ImageFiles):
        return replace(found, paths=tuple(found.paths[i] for i in order), labels=found.labels[order])
    return replace(found, images=found.images[order], labels=found.labels[order])


def open_probe(word: str, device: torch.device | str) -> Probe:
    """A network from one word: FILE (of a classifier trained here), or NAME=FILE, NAME=download, NAME=random.

    Raises:
        ValueError: it is none of these, or the file is wrong.
    """
    name, _, where = word.partition("=")
    if name in ARCHITECTURES and where:
        special: dict[str, dict[str, Any]] = dict(download=dict(download=True), random=dict(random_seed=0))
        given = special.get(where, dict(weights=typed(where)))
        probe = torchvision_probe(name, **given)
        if "weights" in given and Path(where).stem != name:
            probe = replace(probe, name=f"{name}, {Path(where).stem}")  # there may be others of this architecture
    elif Path(word).suffix == ".safetensors":
        network, about = load_classifier(typed(word))
        probe = cnn_probe(network, Path(word).stem, classes=about.get("classes", ()))
    else:
        raise ValueError(
            f"network: expected FILE.safetensors, NAME=FILE, NAME=download or NAME=random with NAME of "
            f"{', '.join(ARCHITECTURES)}, got {word!r}"
        )
    probe.network.to(device)
    return probe


def open_probes(words: Sequence[str], device: torch.device | str) -> list[Probe]:
    """A network for each word, see `open_probe`; each has a name of its own.

    Raises:
        ValueError: as `open_probe`, or two have one name, so that one could be taken for the other.
    """
    probes = [open_probe(word, device) for word in words]
    taken: dict[str, str] = {}
    for word, probe in zip(words, probes):
        if probe.name in taken:
            raise ValueError(
                f"networks: expected files of different names, got {taken[probe.name]} and {word}, both to be called "
                f"{probe.name!r}; name each once, and rename the file of one of two"
            )
        taken[probe.name] = word
    return probes


def words_of(classifiers: str) -> list[str]:
    """The words of a parameter that is a file, a pattern of files, or several words with spaces between; see `located`.

    Raises:
        ValueError: there is no such file, none fits the pattern, or there is no word.
    """
    try:
        try:
            return _fitting(str(located(classifiers)))  # also one file or pattern with spaces in it
        except Nothing:
            words = shlex.split(each_word(classifiers, located))
    except ValueError as error:
        raise ValueError(f"classifiers: {error}") from None
    return [each for word in words for each in _fitting(word)]


def named(folder: Path, kind: str) -> dict[str, Path]:
    """Files KIND-SOME-WORDS.EXT of a folder by these words, as a figure writes them: "denoiser of 48,000 images".

    Args:
        folder: that holds them, or does not.
        kind: a pattern with one star for the words, as ``uturns-*.nc``.
    """
    before, _, after = kind.partition("*")
    found = {path: path.name.removeprefix(before).removesuffix(after) for path in sorted(Path(folder).glob(kind))}
    return {re.sub(r"\d{4,}", lambda n: f"{int(n[0]):,}", x.replace("-", " ")): path for path, x in found.items()}


def _fitting(word: str) -> list[str]:
    return sorted(glob.glob(word)) or [word]


def look_through(images: LabelledImages | ImageFiles, report: Callable[[int], None] | None = None) -> str:
    """Digest of the images, every one of which is read; says on standard error what was passed over.

    It is the first thing that a run does, as a damaged image would otherwise be found after hours.

    Raises:
        ValueError: some files are no images; all of them are named.
    """
    if words := said(images):
        print(words, file=sys.stderr)
    return images.digest(report) if isinstance(images, ImageFiles) else images.digest()


class Experiment(NamedTuple):
    """All that the chapters on images start from."""

    model: DiffusionModel
    probes: list[Probe]
    data: LabelledImages | ImageFiles
    t: NDArray[np.float64]  #: (T,) inversion times, t/T
    turns: list[UTurns]  #: one for each time, with all images
    stored: bool  #: they were made before, and read
    options: dict[str, Any]  #: of `hierlib.images.sampler.uturns`

    @property
    def fashion(self) -> bool:
        """Whether the images are Fashion-MNIST's, as their digest says."""
        return self.data.known == "fashion-mnist"

    def first(self, images: int) -> list[UTurns]:
        """The U-turns of the first images only."""
        start = self.turns[0].start[:images]  # one for all times, so that networks look at it once
        return [each._replace(start=start, end=each.end[:images]) for each in self.turns]

    def again(self, images: int, times: list[int]) -> list[UTurns]:
        """The U-turns of the first images at some of the times (indices into t), made now."""
        some = [self.turns[i].k for i in times]
        return gathered(uturns(self.model, self.data[: min(images, len(self.data))], some, **self.options))


def experiment(
    *,
    profile: str,
    model: str,
    weights: str,
    images: str,
    classifiers: str,
    per_class: int,
    steps: int,
    keep: str,
    seed: int,
    stored: str = "_models/fashion/uturns.nc",
) -> Experiment:
    """Opens all and makes the U-turns, or reads them if they were made before with the same model and settings.

    Args:
        profile: "full" makes them in any case.
        model, weights, images, classifiers, per_class, steps, keep, seed: the parameters of the chapters.
        stored: file of U-turns made before, if it is there.

    Files are found by `located`: a chapter that is run by hand finds those of the book from any folder of it.

    Raises:
        ValueError: a file is missing or wrong.
    """
    # a small one needs no GPU, and there its noise would not be that of the U-turns made before
    network = load_model(model, located(weights), device="cpu" if model == "small" else None)
    probes = open_probes(words_of(classifiers), network.device)
    if blank := [probe.name for probe in probes if not probe.trained]:
        raise ValueError(
            f"classifiers: expected trained ones, got {', '.join(blank)}, which are for tests, not to be drawn"
        )
    data = open_images(located(images), network, per_class)
    digest = look_through(data)
    for probe in probes:
        probe(data[0:1])
    k = sorted({max(1, int(time)) for time in (np.array(TIMES) * steps).round()})  # of few steps there are fewer
    settings: dict[str, Any] = dict(steps=steps, seed=seed, matched=False, truncate=False)
    inputs = inputs_of(network, digest, k, **settings)
    turns = _made_before(stored, inputs) if profile == "quick" else None
    folder = typed(keep) / f"{len(data)}-{steps}-{seed}" if keep else None
    options: dict[str, Any] = settings | dict(batch=32, folder=folder, show=False)
    made = turns or gathered(uturns(network, data, k, **options))
    return Experiment(network, probes, data, np.array(k) / steps, made, turns is not None, options | dict(folder=None))


def _made_before(stored: str, inputs: dict[str, Any]) -> list[UTurns] | None:
    try:
        return stored_uturns(located(stored), inputs)
    except Nothing:
        return None
