"""Figures of grammars, of their messages and of what leaves share are drawn from anybody's results."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.book.figures import gossip, rules
from hierlib.enumeration import another_rule
from hierlib.experiments.heard import heard
from hierlib.experiments.observables import PairInformation


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(drawing, live=""):
    """The axes of a drawing that can be shown."""
    assert len(drawing.alt.split()) > 8 and bool(drawing.live) == bool(live) and live in drawing.live
    drawing.fig.draw_without_rendering()
    return drawing.fig.axes


@pytest.mark.parametrize("v, m, s, L", [(4, 2, 2, 3), (6, 3, 3, 1), (4, 1, 2, 2)])
def test_another_way_says_how_many_leaves_change(v, m, s, L):
    g = hl.random_grammar(v=v, m=m, s=s, L=L, generator=rng())
    found = another_rule(g)
    drawing = rules.another_way(g, found.before, found.after, found.number)
    axes = drawn(drawing, 'data-live="tree-rules"')
    assert len(axes) == 3 and f"Two trees of {s**L} leaves" in drawing.alt and f"and {found.changed} of" in drawing.alt


@pytest.mark.parametrize("v, s", [(4, 2), (3, 3)])
def test_a_table_of_tuples_is_full_where_all_are_allowed(v, s):
    tables = {m: hl.random_grammar(v=v, m=m, s=s, L=1, generator=rng()).rules[0] for m in (1, v ** (s - 1))}
    axes = drawn(rules.allowed_tuples(tables))
    assert [len(ax.patches) - 1 for ax in axes] == [v, v**s]
    assert [ax.get_title() for ax in axes] == ["$m = 1$", f"$m = {v ** (s - 1)}$"]


def test_information_has_a_floor_and_siblings_by_rules():
    values = np.abs(np.random.default_rng(0).normal(0.1, 0.01, (6, 3)))
    info = {m: PairInformation(values * (16 - m + 1e-6), values, values / 10) for m in (2, 4, 16)}
    left, right = drawn(rules.mutual_information(info, (2, 16), 16))
    assert [text.get_text() for text in left.texts] == ["$m = 2$", "floor, and\n$m = 16$"]
    assert len(left.containers) == 2 and right.containers[0].lines[0].get_xdata().tolist() == [2, 4, 16]


def test_two_sweeps_tell_of_a_leaf_that_is_mended():
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    x = hl.sample(g, 1, generator=rng(1))
    truth = [level[0].numpy() for level in x]
    evidence = hl.epsilon_evidence(x[0], eps=0.1, v=4, dtype=torch.float64)
    evidence[0, 1] = 0.24
    evidence[0, 1, (int(x[0][0, 1]) + 1) % 4] = 0.28  # wrong, but hardly
    drawing = gossip.two_sweeps(g, evidence, hl.infer(g, evidence), truth, leaf=1)
    assert len(drawn(drawing, 'data-live="bp-step"')) == 2 and "Leaf 2 believes in a wrong symbol" in drawing.alt
    assert "wrong" not in gossip.two_sweeps(g, evidence, hl.infer(g, evidence), truth, leaf=0).alt


@pytest.mark.parametrize("s, L", [(2, 3), (3, 1)])
def test_a_factor_graph_has_a_square_a_branching(s, L):
    truth = [np.zeros(s ** (L - l), int) for l in range(L + 1)]
    top, up, down = drawn(gossip.factor_graph(truth, s, L))
    assert sum(line.get_marker() == "s" for line in top.lines) == (s**L - 1) // (s - 1)
    assert (up.get_title(), down.get_title()) == ("upward", "downward, to the first child")


def test_cost_counts_digits():
    drawing = gossip.cost([1, 2, 3], [2.0, 20.0, 200.0], [2.0, 2.5, 3.0])
    [ax] = drawn(drawing)
    assert ax.get_yscale() == "log" and "to 200 digits at 3 levels" in drawing.alt and "below 4 digits" in drawing.alt


def test_halves_have_a_panel_by_noise_and_one_by_level():
    found = heard(hl.GaussianNoise(v=4), [0.1, 0.4], 0.2, v=4, m=2, s=2, L=3, draws=3, generator=rng())
    left, right = drawn(gossip.halves([0.1, 0.4], found, 0.2, 4))
    assert len(left.containers) == 2 and len(right.containers) == 3 * 4 and right.get_title() == "$t = 0.20$"
