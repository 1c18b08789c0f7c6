"""What is measured on U-turns of text, against its definition and on known cases."""

import numpy as np
import pytest
import torch

from hierlib.experiments.changes import sampled_moments
from hierlib.text import measure
from hierlib.text.uturn import chances
from tests.texts import rng


def test_pairs_against_their_definition():
    y, x0 = torch.randint(2, 5, (3, 7, 6), generator=rng()), torch.randint(2, 5, (3, 6), generator=rng(1))
    pairs = measure.covariance(y, x0)
    sigma = 2.0 * (y == x0[:, None]).double() - 1
    for n in range(3):
        cov = np.cov(sigma[n].numpy().T)
        np.testing.assert_allclose(pairs[n], [np.trace(cov, r) for r in range(6)], atol=1e-12)
    variance, independent = sampled_moments(y, x0, x0.shape[1])[:2]
    np.testing.assert_allclose(measure.chi(pairs.numpy()), variance / independent)
    far = measure.far(pairs.numpy(), 1)
    np.testing.assert_allclose(1 + far, measure.chi(pairs.numpy()))


def test_reach_of_a_known_correlation():
    d = 32
    pairs = 0.5 ** np.arange(d) * (d - np.arange(d))
    assert measure.relative(pairs)[3] == pytest.approx(1 / 8)
    assert measure.reach(pairs, 0.1875) == pytest.approx(2.5)  # half-way between 1/4 and 1/8
    assert measure.reach(np.full(4, 1.0) * (4 - np.arange(4))) == 4


def test_independent_words_have_no_susceptibility():
    frequencies = torch.tensor([0, 0, 0.5, 0.3, 0.2]).log()
    x0 = torch.randint(2, 5, (40, 16), generator=rng())
    one = measure.study(
        lambda x, where: frequencies.expand(len(where[0]), 5), x0, 0.6, chances(x0, 64, list(range(40))), steps=None
    )
    chi = (one.variance / one.independent)[0].values
    assert abs(chi.mean() - 1) < 4 * chi.std() / 40**0.5
