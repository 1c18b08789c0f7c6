"""A small text of a few sentences, and a small model of it, for the tests of hierlib.text."""

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from hierlib.networks.fit import Schedule
from hierlib.text.bound import train
from hierlib.text.corpus import Corpus
from hierlib.text.model import Size

SENTENCES = ("the cat sat on the mat.", "a dog ran to the door;", "the dog and the cat sat, and ran.")
LENGTH, SMALL = 8, dict(width=16, heads=2, blocks=1)
MODELS = Path(__file__).parents[1] / "book" / "_models" / "text"


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def write(path: Path, seed=0) -> Path:
    g = np.random.default_rng(seed)
    path.write_text("\n\n".join("\n".join(g.choice(SENTENCES, 4)) for _ in range(60)), encoding="utf-8")
    return path


@lru_cache
def corpus() -> Corpus:
    with TemporaryDirectory() as folder:
        return Corpus.read(write(Path(folder) / "text.txt"), length=LENGTH, vocabulary=40, every=5)


def trained(corpus, folder, minutes=float("inf"), examples=4000):
    size = Size(len(corpus.vocabulary), LENGTH, **SMALL)
    schedule = Schedule(examples, 16, 1e-2, warmup=5, ema=0.9, seed=3)
    return train(corpus, size, schedule, checkpoint=folder / "x.part", about={"made": "here"}, minutes=minutes)
