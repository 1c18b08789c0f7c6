"""What is measured on U-turns of text, against its definition and on known cases."""

import numpy as np
import pytest
import torch

from hierlib.experiments.changes import sampled_moments
from hierlib.text import measure
from hierlib.text.uturn import chances, uturn
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


def test_given_the_mask_nothing_is_left_of_being_erased_or_not():
    x0 = torch.full((3, 10), 3)
    uniform = chances(x0, 20, [0, 1, 2])
    before = uniform.clone()

    def other(x, where):  # what is erased always changes, so the mask is all that is random
        return torch.tensor([0.0, 0, 1, 0]).log().expand(len(where[0]), 4)

    own = measure.covariance(uturn(other, x0, 0.5, uniform), x0)
    given = measure.given_mask(other, x0, [0.2, 0.5], uniform)
    assert given.shape == (3, 2, 10) and np.abs(given).max() < 1e-12 and (own[:, 0] > 5).all()
    assert torch.equal(uniform, before), "what is random is not changed in the hands of the caller"


def test_given_a_mask_of_all_words_it_is_the_covariance():
    frequencies = torch.tensor([0, 0, 0.5, 0.5]).log()
    x0 = torch.randint(2, 4, (2, 6), generator=rng())
    uniform = chances(x0, 30, [0, 1])

    def coin(x, where):
        return frequencies.expand(len(where[0]), 4)

    given = measure.given_mask(coin, x0, [1.0], uniform, steps=2)
    whole = uturn(coin, x0, 1.0, uniform, steps=2)
    np.testing.assert_allclose(given[:, 0], measure.covariance(whole, x0), atol=1e-12)
