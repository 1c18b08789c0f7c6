"""Entropies of the next leaf against the list of all data, and the exponents against what grammars do."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hierlib as hl
from hierlib import language
from hierlib.enumeration import all_data
from hierlib.probability import prior_marginals
from hierlib.theory import meanfield
from tests.grammars import grammars


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def conditional_entropy(x, place, before):
    """H(leaf | the leaves of a slice), in nats, over data that are equally probable."""

    def entropy(columns):
        if not columns:
            return 0.0
        _, counts = x[:, columns].unique(dim=0, return_counts=True)
        p = counts.double() / len(x)
        return float(-(p * p.log()).sum())

    seen = list(range(x.shape[1]))[before]
    return entropy([*seen, place]) - entropy(seen)


@given(grammars(max_data=600))
@settings(max_examples=40, deadline=None)
def test_entropies_of_places_are_those_of_the_list_and_sum_to_the_whole(g):
    x = all_data(g)[0]
    found = language.place_entropies(g, x).mean(0)
    assert float(found.sum()) == pytest.approx(hl.entropy(g))
    for place in range(g.d):
        assert float(found[place]) == pytest.approx(conditional_entropy(x, place, slice(0, place)), abs=1e-9)


@given(grammars(max_data=300), st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_entropies_of_windows_are_those_of_the_list(g, window):
    x, places = all_data(g)[0], list(range(g.d))
    found = language.window_entropies(g, x, places, [window, g.d]).mean(0)
    for place in places:
        for column, size in enumerate((window, g.d)):
            expected = conditional_entropy(x, place, slice(max(0, place - size), place))
            assert float(found[place, column]) == pytest.approx(expected, abs=1e-9)


@given(grammars(max_data=600))
@settings(max_examples=40, deadline=None)
def test_last_leaves_are_told_by_the_rest_of_their_block(g):
    x = all_data(g)[0]
    found = language.last_leaf_entropies(g, x)
    assert len(found) == g.L + 1
    for level, each in enumerate(found):
        size = g.s**level
        assert each.shape == (len(x), g.num_nodes(level))
        for node in range(g.num_nodes(level)):
            last = (node + 1) * size - 1
            expected = conditional_entropy(x, last, slice(node * size, last))
            assert float(each[:, node].mean()) == pytest.approx(expected, abs=1e-9)


@given(grammars(max_data=600))
@settings(max_examples=40, deadline=None)
def test_a_random_place_has_the_entropy_of_its_block_over_its_length(g):
    """From the list of all data: the entropies of the places of each block, given the block so far."""
    x, closed = all_data(g)[0], language.mean_place_entropies(g)
    for level in range(g.L + 1):
        size = g.s**level
        each = [conditional_entropy(x, i, slice(i // size * size, i)) for i in range(g.d)]
        assert float(closed[level]) == pytest.approx(np.mean(each), abs=1e-9)


def test_random_places_have_exponent_one_whatever_the_grammar():
    for v, m, s, L in [(32, 8, 2, 10), (16, 4, 2, 10), (16, 8, 3, 6)]:
        g = hl.random_grammar(v=v, m=m, s=s, L=L, generator=rng())
        excess = language.mean_place_entropies(g).numpy() - math.log(m) / (s - 1)
        assert language.running_exponents(excess[1:], s).mean() == pytest.approx(1, abs=0.02)


@given(grammars(max_data=600))
@settings(max_examples=40, deadline=None)
def test_covariance_of_two_leaves_is_that_of_the_list(g):
    x = all_data(g)[0]
    hot = torch.nn.functional.one_hot(x, g.v).double()
    hot = hot - hot.mean(0)
    for level in range(1, g.L + 1):
        expected = hot[:, 0].T @ hot[:, g.s ** (level - 1)] / len(x)
        torch.testing.assert_close(language.leaf_covariance(g, level), expected, rtol=0, atol=1e-12)


def test_exponents_are_slopes_and_name_the_phase():
    v, m, s = 32, np.arange(1, 33), 2
    found = language.exponents(v, m, s)
    np.testing.assert_allclose(s ** (1 - found.gamma), meanfield.upward_map_derivative(1.0, v, m, s))
    np.testing.assert_allclose(s ** (1 - found.beta), meanfield.upward_map_derivative(1 / v, v, m, s))
    np.testing.assert_allclose(found.gamma, np.log((v**s - 1) / (m * (v - 1))) / np.log(s))
    np.testing.assert_allclose(found.alpha, found.gamma / (2 * found.beta))
    kesten_stigum, critical = s * v ** (s - 1) * (v - 1) / (v**s - 1), (v**s - 1) / (s * (v - 1))
    assert ((found.beta < 1) == (m < kesten_stigum)).all() and ((found.gamma < 1) == (m > critical)).all()
    for size in [(10, 10, 3), (16, 4, 2), (4, 1, 2)]:
        assert all(np.isfinite(language.exponents(*size)))


@pytest.mark.slow
def test_covariances_fall_with_the_exponent_beta():
    """The root mean square over grammars, from level 2 on."""
    size, L = dict(v=16, m=4, s=2), 6
    norms = np.array(
        [
            [float(language.leaf_covariance(g, l).norm()) for l in range(2, L + 1)]
            for g in (hl.random_grammar(**size, L=L, generator=rng(i)) for i in range(150))
        ]
    )
    running = language.running_exponents(np.sqrt((norms**2).mean(0)), 2)
    assert running.mean() == pytest.approx(float(language.exponents(**size).beta), abs=0.1)


def test_bad_input_is_refused():
    g = hl.random_grammar(v=3, m=2, s=2, L=2, generator=rng())
    x = hl.sample(g, 2, generator=rng())[0]
    for call in (language.place_entropies, language.last_leaf_entropies):
        with pytest.raises(ValueError, match=r"leaves: expected whole numbers of shape \(n, 4\)"):
            call(g, x[:, :3])
    for places, windows in (([4], [1]), ([0], [-1]), ([0.5], [1]), ([], [1]), ([0], [])):
        with pytest.raises(ValueError, match=r"(places|windows).*: expected"):
            language.window_entropies(g, x, places, windows)
    for level in (0, 3, 1.0):
        with pytest.raises(ValueError, match="level: expected"):
            language.leaf_covariance(g, level)
    assert np.isnan(language.running_exponents([1.0, -1.0, 1.0], 2)).all()
    assert float(prior_marginals(g)[0].sum()) == pytest.approx(4)


# ---- over drawn grammars ----------------------------------------------------------------------------

SMALL = dict(v=4, m=2, s=2, L=3)


def test_last_leaves_are_those_of_one_grammar_after_the_other():
    found, again = language.last_leaf_drops(**SMALL, draws=2, data=5, generator=rng(1)), rng(1)
    assert found.shape == (2, 2, 4) and np.isnan(found[:, 1, 0]).all()
    for each in found:
        g = hl.random_grammar(**SMALL, generator=again)
        levels = language.last_leaf_entropies(g, hl.sample(g, 5, generator=again)[0])
        np.testing.assert_allclose(each[0], [float(level.mean()) for level in levels])


def test_a_drop_is_taken_at_the_same_leaves():
    """Else what differs between leaves would hide it: the mean of all blocks of a level is of other leaves."""
    again = rng(3)
    (found,) = language.last_leaf_drops(**SMALL, draws=1, data=7, generator=rng(3))
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
    closed, inferred = language.entropies_at_random_places(**SMALL, draws=2, data=400, generator=rng(4))
    assert closed.shape == (2, 4) and inferred.shape == (2, 8)
    np.testing.assert_allclose(inferred.mean(1), closed[:, 3], rtol=0.03)
