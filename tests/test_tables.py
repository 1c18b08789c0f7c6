"""What a table of rules makes of a message, against exhaustive counts and belief propagation itself."""

import pytest
import torch

import hierlib as hl
from hierlib.experiments import tables
from hierlib.experiments.messages import single_messages
from hierlib.theory import meanfield
from hierlib.theory.population import planted_rules

SIZE = {"v": 4, "m": 3, "s": 2}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def averages(p, v=4, m=3, s=2):
    """The derived ones: message to the truth, to another symbol, their sum, the annealed map."""
    ps, n = p**s, v**s - 1
    return (
        ps + (m - 1) / n * (1 - ps),
        m / n * (1 - ps),
        ps + (m * v - 1) / n * (1 - ps),
        meanfield.upward_map(p, v, m, s),
    )


def of_counts(j, v=4, m=3, s=2):
    shell = {1: s * (v - 1), 2: (v - 1) ** 2}[j]
    return shell * (m * v - 1) / (v**s - 1), (m - 1) / (m * v - 1)


def test_counts_are_those_of_the_tables():
    counts, rules = tables.shell_counts(50, **SIZE, generator=rng()), planted_rules(50, **SIZE, generator=rng())
    assert counts.shape == (50, 4, 3) and (counts.sum((1, 2)) == 12).all() and (counts[:, 0, 0] == 1).all()
    assert (counts[..., 2] == (rules != 0).all(-1).sum(2)).all()


def test_a_message_is_that_of_belief_propagation():
    g = hl.random_grammar(**SIZE, L=1, generator=rng())
    p, (a, b) = 0.7, g.rules[0][0, 0].tolist()  # the true tuple: the first rule of symbol 0
    evidence = torch.full((1, 2, 4), 0.1, dtype=torch.float64)
    evidence[0, 0, a] = evidence[0, 1, b] = p
    apart = (g.rules[0] != torch.tensor([a, b])).sum(-1)
    counts = (apart[..., None] == torch.arange(3)).sum(1)[None].double()
    message = tables.messages(counts, p)[0]
    assert message / message.sum() == pytest.approx(hl.infer(g, evidence).up[1][0, 0], abs=1e-12)
    many = tables.messages(counts, torch.tensor([0.3, p], dtype=torch.float64))
    assert many.shape == (1, 4, 2) and many[0, :, 1] == pytest.approx(message, abs=1e-15)


def test_derived_averages_agree_and_wrong_ones_do_not():
    counts = tables.shell_counts(6000, **SIZE, generator=rng()).double()
    found = tables.deviations(counts, of_counts, averages, (0.3, 0.6, 0.9))
    assert len(found) == 4 + 9 and sum("n_" in name for name in found) == 2
    assert max(map(abs, found.values())) < 4.5
    wrong = tables.deviations(counts, of_counts, lambda p: averages(p, m=4), (0.3, 0.6, 0.9))
    assert max(map(abs, wrong.values())) > 20
    assert tables.wrong_symbols_apart(counts, 0.6) < 4.5
    assert float(tables.sigmas(torch.ones(5, 2), 1.0).abs().max()) == 0


def test_the_cost_of_averaging_is_that_of_the_plain_mean_with_less_noise():
    counts = tables.shell_counts(20_000, **SIZE, generator=rng()).double()
    found = tables.averaging_error(counts, averages, [0.4, 1.0])
    message = tables.messages(counts, 0.4)
    plain = message[:, 0] / message.sum(1) / averages(0.4)[3] - 1
    assert found.value[0] == pytest.approx(float(plain.mean()), abs=4 * float(plain.std()) / 20_000**0.5)
    assert found.value[1] == pytest.approx(0, abs=1e-12)
    assert 0 < found.hi[0] - found.lo[0] < 2 * 1.96 * float(plain.std()) / 20_000**0.5


def test_single_messages_are_those_of_infer():
    size = {"v": 6, "m": 2, "s": 2, "L": 3}
    found = single_messages([0.0, 0.6], 3, **size, draws=4, generator=rng())
    g = hl.random_grammar(**size, generator=(gen := rng()))
    x = hl.sample(g, 1, generator=gen)
    up = hl.infer(g, hl.epsilon_evidence(x[0], eps=0.6, v=6)).up
    assert [y.shape for y in found.up[1]] == [(8, 6), (4, 6), (2, 6)] and found.eps == (0.0, 0.6)
    assert all(torch.equal(a, b[0]) for a, b in zip(found.up[1], up))
    assert all(torch.equal(a, b[0]) for a, b in zip(found.truth, x))
    assert found.right.shape == (4, 2, 3) and (found.right[:, 0] == 1).all()
    assert found.right[0, 1, 0] == (up[0].argmax(-1) == x[0]).double().mean()
    assert found.right.isfinite().all()
