"""Entropies over grammars: the same as grammar by grammar, drops at the same leaves, covariances by the level."""

import numpy as np
import torch

import hierlib as hl
from hierlib import language


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


SMALL = dict(v=4, m=2, s=2, L=3)


def test_last_leaves_are_those_of_one_grammar_after_the_other():
    found, again = language.last_leaves(**SMALL, draws=2, data=5, generator=rng(1)), rng(1)
    assert found.shape == (2, 2, 4) and np.isnan(found[:, 1, 0]).all()
    for each in found:
        g = hl.random_grammar(**SMALL, generator=again)
        levels = language.last_leaf_entropies(g, hl.sample(g, 5, generator=again)[0])
        np.testing.assert_allclose(each[0], [float(level.mean()) for level in levels])


def test_a_drop_is_taken_at_the_same_leaves():
    """Else what differs between leaves would hide it: the mean of all blocks of a level is of other leaves."""
    again = rng(3)
    (found,) = language.last_leaves(**SMALL, draws=1, data=7, generator=rng(3))
    g = hl.random_grammar(**SMALL, generator=again)
    levels = language.last_leaf_entropies(g, hl.sample(g, 7, generator=again)[0])
    for level in range(3):
        of_part = levels[level].reshape(7, -1, 2)[
            :, :, 1
        ]  # the block is longer, its last leaf is that of its last part
        assert np.isclose(found[1, level + 1], float((of_part - levels[level + 1]).mean()), atol=1e-12)
        assert found[1, level + 1] > -1e-12  # on average more is known, never less
    assert not np.isclose(found[1, 1], found[0, 0] - found[0, 1], atol=1e-9)


def test_squared_covariances_are_means_over_symbols():
    found = language.squared_covariances(**SMALL, draws=3, generator=rng(2))
    g = hl.random_grammar(**SMALL, generator=rng(2))
    assert found.shape == (3, 3)
    np.testing.assert_allclose(found[0], [float((language.leaf_covariance(g, l) ** 2).mean()) for l in (1, 2, 3)])


def test_random_places_add_up_in_every_grammar():
    closed, inferred = language.random_places(**SMALL, draws=2, data=400, generator=rng(4))
    assert closed.shape == (2, 4) and inferred.shape == (2, 8)
    np.testing.assert_allclose(inferred.mean(1), closed[:, 3], rtol=0.03)
