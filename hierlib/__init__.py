"""Exact, batched, fast inference on the Random Hierarchy Model.

Level 0 is the leaves, level L the root (the class). Evidence, of shape (batch, s^L, v), is all that a noise
process hands to inference.
"""

from hierlib.autoregression import next_leaf, sample_left_to_right
from hierlib.experiments.changes import susceptibility
from hierlib.grammar import Grammar, parse, random_grammar, sample
from hierlib.inference import Beliefs, class_posterior, epsilon_overlap, infer, overlap, posterior_sample
from hierlib.noise import EpsilonNoise, GaussianNoise, MaskNoise, Noise, UniformNoise, epsilon_evidence
from hierlib.probability import entropy, log_probability
from hierlib.theory import meanfield, population  # noqa: F401  (hl.meanfield, hl.population)

__version__ = "0.1.0"

__all__ = [
    "Beliefs",
    "EpsilonNoise",
    "GaussianNoise",
    "Grammar",
    "MaskNoise",
    "Noise",
    "UniformNoise",
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
]
