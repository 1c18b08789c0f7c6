"""What the two chapters on images start from: a model, networks that look, images, and their U-turns."""

import shlex
from glob import glob
from typing import NamedTuple

import numpy as np

from hierlib._paths import each_word, located, typed
from hierlib.images.adm import load_model
from hierlib.images.commands import gathered, open_images, open_probe, stored_uturns
from hierlib.images.data import ImageFiles, LabelledImages
from hierlib.images.models import DiffusionModel
from hierlib.images.probe import Probe
from hierlib.images.sampler import UTurns, uturns

TIMES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  #: t/T


class Experiment(NamedTuple):
    """What a chapter on images compares: a model, the networks that look at its images, and these."""

    model: DiffusionModel
    probes: list[Probe]
    data: LabelledImages | ImageFiles
    t: np.ndarray  #: (T,) inversion times, t/T
    turns: list[UTurns]  #: one for each time, with all images
    stored: bool  #: they were made before, and read

    def again(self, images: int, times: list[int]) -> list[UTurns]:
        """The U-turns of the first images at some of the times (indices into t), made now."""
        some = [self.turns[i].k for i in times]
        return gathered(uturns(self.model, self.data[: min(images, len(self.data))], some, **self.options))

    options: dict


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
        stored: file of U-turns made before.

    Raises:
        ValueError: a file is missing or wrong.
    """
    # a small one needs no GPU, and there its noise would not be that of the U-turns made before
    network = load_model(model, located(weights), device="cpu" if model == "small" else None)
    classifiers = each_word(classifiers, located)
    words = sorted(glob(classifiers)) or [x for word in shlex.split(classifiers) for x in sorted(glob(word)) or [word]]
    if not words:
        raise ValueError(f"classifiers: expected files, got none that fits {classifiers!r}")
    probes = [open_probe(word, network.device) for word in words]
    if blank := [probe.name for probe in probes if not probe.trained]:
        raise ValueError(
            f"classifiers: expected trained ones, got {', '.join(blank)}, which are for tests, not to be drawn"
        )
    data = open_images(located(images), network, per_class)
    k = np.maximum(1, (np.array(TIMES) * steps).round()).astype(int).tolist()
    settings = dict(steps=steps, seed=seed, matched=False)
    turns = stored_uturns(located(stored), network, data, k, **settings) if profile == "quick" else None
    folder = typed(keep) / f"{len(data)}-{steps}-{seed}" if keep else None
    options = settings | dict(batch=32, folder=folder, show=False)
    made = turns or gathered(uturns(network, data, k, **options))
    return Experiment(network, probes, data, np.array(k) / steps, made, turns is not None, options | dict(folder=None))
