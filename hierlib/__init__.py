"""Exact, batched, fast inference on the Random Hierarchy Model.

Level 0 is the leaves, level L the root (the class). Evidence, of shape (batch, s^L, v), is all that a noise
process hands to inference.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from hierlib import _lazy

if TYPE_CHECKING:
    from hierlib.autoregression import next_leaf, sample_left_to_right
    from hierlib.experiments.changes import susceptibility
    from hierlib.grammar import Grammar, parse, random_grammar, zipf
    from hierlib.inference import Beliefs, class_posterior, epsilon_overlap, infer, overlap, posterior_sample
    from hierlib.networks.schedulers import audit
    from hierlib.noise import EpsilonNoise, GaussianNoise, MaskNoise, Noise, UniformNoise, epsilon_evidence
    from hierlib.probability import entropy, log_probability
    from hierlib.sampling import sample
    from hierlib.theory import meanfield, population  # noqa: F401  (hl.meanfield, hl.population)

__version__ = "0.1.0"

# Where each name is, and what is imported when it is first asked for: torch takes a second, and not everybody wants it.
_HOME = {
    "next_leaf": "autoregression",
    "sample_left_to_right": "autoregression",
    "susceptibility": "experiments.changes",
    "Grammar": "grammar",
    "parse": "grammar",
    "random_grammar": "grammar",
    "sample": "sampling",
    "zipf": "grammar",
    "Beliefs": "inference",
    "class_posterior": "inference",
    "epsilon_overlap": "inference",
    "infer": "inference",
    "overlap": "inference",
    "posterior_sample": "inference",
    "audit": "networks.schedulers",
    "EpsilonNoise": "noise",
    "GaussianNoise": "noise",
    "MaskNoise": "noise",
    "Noise": "noise",
    "UniformNoise": "noise",
    "epsilon_evidence": "noise",
    "entropy": "probability",
    "log_probability": "probability",
    "meanfield": "theory",
    "population": "theory",
}

__all__ = [
    "Beliefs",
    "EpsilonNoise",
    "GaussianNoise",
    "Grammar",
    "MaskNoise",
    "Noise",
    "UniformNoise",
    "audit",
    "class_posterior",
    "entropy",
    "epsilon_evidence",
    "epsilon_overlap",
    "infer",
    "log_probability",
    "next_leaf",
    "overlap",
    "parse",
    "posterior_sample",
    "random_grammar",
    "sample",
    "sample_left_to_right",
    "susceptibility",
    "zipf",
]


def __getattr__(name: str) -> object:
    home = f"{__name__}.{_HOME[name]}" if name in _HOME else ""
    value: object = getattr(import_module(home), name) if home else _lazy.submodule(__name__, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *(home.partition(".")[0] for home in _HOME.values())})
