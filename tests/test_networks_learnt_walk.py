"""Chains with a learnt way back: legality, classes and currents, against chains of which all is known."""

import pytest
import torch

import hierlib as hl
from hierlib.networks.generation import exact_denoiser, process
from hierlib.networks.learnt_walk import current, learnt_walk


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn():
    return hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng(3))


def test_an_exact_way_back_stays_in_the_grammar_and_has_no_current():
    g = drawn()
    x = hl.sample(g, 600, generator=rng(1))
    found = learnt_walk(exact_denoiser(g), g, process("mask", 4), x[0], 0.6, 12, generator=rng(2))
    assert found.legal.shape == found.classes.shape == (13, 600) and found.legal.all()
    assert (found.classes[0] == x[2][:, 0]).all() and (found.classes[12] != found.classes[0]).any()
    flow = current(found.classes)
    assert flow.pairs == 6 and flow.chi_square < 20  # 1 in 400 of χ² with 6 degrees of freedom


def test_a_way_back_that_knows_nothing_leaves_the_grammar_and_can_come_back():
    g = drawn()
    x = hl.sample(g, 400, generator=rng(1))[0]
    blind = lambda evidence: torch.full_like(evidence, 1 / 4)  # noqa: E731
    found = learnt_walk(blind, g, process("mask", 4), x, 0.5, 6, generator=rng(2))
    assert found.legal[0].all() and 0 < found.legal[6].double().mean() < 0.6
    assert ((found.classes >= 0) == found.legal).all()
    out = ~found.legal[:-1] & found.legal[1:]
    assert out.any()


def test_nothing_moves_without_noise():
    g = drawn()
    x = hl.sample(g, 5, generator=rng(1))[0]
    found = learnt_walk(exact_denoiser(g), g, process("mask", 4), x, 0.0, 3, generator=rng(2))
    assert (found.classes == found.classes[0]).all()
    with pytest.raises(ValueError, match="make them longer"):
        current(found.classes)


def test_a_cycle_has_a_current_and_steps_through_nothing_do_not_count():
    round_and_round = (torch.arange(31) % 3)[:, None].repeat(1, 4)
    found = current(round_and_round)
    assert found.pairs == 3 and found.chi_square == pytest.approx(3 * 40)
    gone = round_and_round.masked_fill(round_and_round == 2, -1)
    assert current(gone) == (pytest.approx(40), 1)
    there_and_back = (torch.arange(41) % 2)[:, None]
    assert current(there_and_back).chi_square == 0


@pytest.mark.parametrize("classes", [torch.zeros(1, 4).long(), torch.zeros(4).long()])
def test_too_few_turns_are_refused(classes):
    with pytest.raises(ValueError, match="two turns or more"):
        current(classes)
    g = drawn()
    x = hl.sample(g, 2, generator=rng())[0]
    with pytest.raises(ValueError, match="turns: expected at least 0"):
        learnt_walk(exact_denoiser(g), g, process("mask", 4), x, 0.5, -1, generator=rng())
