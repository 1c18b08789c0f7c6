"""What haste costs: against the list of all data, the samplers' own runs, and laws that are written out."""

import math

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib import unmask
from hierlib.enumeration import all_data
from hierlib.networks import haste, schedulers
from hierlib.networks.denoiser import TreeUNet
from hierlib.networks.generation import exact_denoiser

from diffusers import AmusedScheduler  # isort: skip  (after hierlib, which minds torchvision)

SMALL = dict(v=4, m=2, s=2, L=3)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def small():
    g = hl.random_grammar(**SMALL, generator=rng())
    return g, all_data(g)[0]


@pytest.mark.parametrize("name", haste.ORDERS)
@pytest.mark.parametrize("rounds", [1, 3, 8])
def test_what_is_paid_round_by_round_adds_up(name, rounds):
    g, data = small()
    order = haste.order(name, g, len(data), rounds, generator=rng(1))
    found = haste.paid(g, data, order, rounds)
    whole = unmask.price(exact_denoiser(g), data, order, rounds, -hl.entropy(g), v=4)
    torch.testing.assert_close(found.price.sum(1), whole, rtol=0, atol=1e-9)
    assert found.price.mean(0).min() > -1e-9, "what leaves know of each other is no less than nothing"
    assert found.hidden[0] == 1 and found.hidden.shape == (rounds,) and (found.hidden.diff() < 0).all()
    early, all_of_it = found.while_hidden(0.5)
    assert early == pytest.approx(float(found.price[:, found.hidden > 0.5].sum(1).mean()))
    assert all_of_it == pytest.approx(float(whole.mean()), abs=1e-9)


def test_a_round_is_paid_with_the_information_of_its_leaves():
    """Two leaves of a grammar of two, revealed at once: their mutual information, by the list of data."""
    g = hl.random_grammar(v=3, m=2, s=2, L=1, generator=rng())
    data = all_data(g)[0]
    joint = torch.zeros(3, 3, dtype=torch.float64)
    joint.index_put_(tuple(data.T), torch.tensor(1 / len(data), dtype=torch.float64), accumulate=True)
    product = joint.sum(1, keepdim=True) * joint.sum(0)
    information = float(torch.xlogy(joint, joint / product).sum())
    found = haste.paid(g, data, unmask.blocks(2), 1)
    assert float(found.price.mean()) == pytest.approx(information)


def test_prices_are_means_over_the_data_of_each_grammar():
    found = haste.prices("strided", [2, 8], **SMALL, draws=2, data=5, generator=rng(), dtype=torch.float64)
    generator, expected = rng(), []
    for _ in range(2):
        g = hl.random_grammar(**SMALL, generator=generator)
        x = hl.sample(g, 5, generator=generator)[0]
        price = unmask.price(exact_denoiser(g), x, unmask.strided(8, 2), 2, -hl.entropy(g), v=4)
        expected.append([float(price.mean()), 0])
    assert found == pytest.approx(np.array(expected), abs=1e-9)


def test_a_networks_price_is_haste_and_its_own_error():
    g, data = small()
    torch.manual_seed(3)
    net = TreeUNet(4, 2, 3, 8)
    denoise = torch.no_grad()(lambda e: net.eval().marginals(e.float()))
    found = haste.bill(denoise, g, data, "strided", [1, 2, 8], generator=rng())
    assert found.total.mean(0).tolist() == pytest.approx((found.haste + found.error).mean(0).tolist(), abs=1e-5)
    assert found.error.min() >= 0 and found.error.mean() > 0.1 and found.off() < 0.1
    assert found._replace(error=found.error + 1).off() > 5
    for name, who in (("haste", exact_denoiser(g)), ("total", lambda e: denoise(e).double())):
        whole = unmask.price(who, data, unmask.strided(8, 2), 2, -hl.entropy(g), v=4)
        torch.testing.assert_close(getattr(found, name)[:, 1], whole, rtol=0, atol=1e-5)
    none = haste.spent(lambda e: exact_denoiser(g)(e.double()), g, data, unmask.by_certainty, 3)
    assert none.error.abs().max() < 1e-9 and torch.equal(none.haste, none.total) and none.haste.mean() > 0.1


def test_legal_strings_are_at_least_as_many_as_the_price_says():
    """KL(data ‖ sampler) ≥ -ln of the probability of all data together."""
    g, data = small()
    for name in haste.ORDERS:
        found = haste.legal(g, name, 4000, 2, generator=rng(2))
        order = haste.order(name, g, len(data), 2, generator=rng(5))
        price = unmask.price(exact_denoiser(g), data, order, 2, -hl.entropy(g), v=4)
        assert found.strings.double().mean() > math.exp(-price.mean()) - 0.03
        assert found.levels[0] == 1 and (found.levels.diff() <= 0).all() and not found.strings.all()
        assert [tuple(x.shape) for x in found.nodes] == [(4000, n) for n in (8, 4, 2, 1)]
        assert torch.equal(found.strings, hl.log_probability(g, found.leaves).isfinite())
    assert haste.legal(g, "blocks", 200, 8, generator=rng()).strings.all(), "one at a time is exact"


@pytest.mark.slow
def test_a_law_from_runs_is_corrected_for_their_number():
    g, data = small()
    q = torch.rand(len(data), dtype=torch.float64, generator=rng()) + 0.2
    q /= q.sum()
    truth, n, found = float(-(q * len(data)).log().mean()), 20_000, []
    for seed in range(40):
        runs = data[torch.multinomial(q, n, replacement=True, generator=rng(seed))]
        found.append(haste.law_from_runs(g, runs))
    value, error = np.array([(x.divergence, x.error) for x in found]).T
    assert abs(value.mean() - truth) < 4 * value.std() / 40**0.5
    assert value.std() == pytest.approx(error.mean(), rel=0.4) and all(x.legal == pytest.approx(1) for x in found)
    wrong = next(x for x in torch.eye(8, dtype=torch.int64) if not hl.log_probability(g, x[None]).isfinite())
    few = haste.law_from_runs(g, torch.stack([*data[:5], *[wrong] * 5]))
    assert few.divergence == math.inf and few.legal == pytest.approx(0.5)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_amused_prefers_the_likely_of_two_leaves_that_know_nothing_of_each_other(temperature):
    """Its law written out: draw both, mask one again by a choice that looks at what was drawn, draw that one."""
    p = 0.7
    likely = p ** (1 / temperature) / (p ** (1 / temperature) + (1 - p) ** (1 / temperature))
    expected = p + p * (1 - p) * (likely - 0.5)
    law = torch.tensor([p, 1 - p], dtype=torch.float64)
    how = dict(steps=2, d=2, v=2, generator=rng(), settings={"temperature": (temperature, 0)})
    x = schedulers.run(AmusedScheduler(2, "linear"), lambda e: law.expand(e.shape), 60_000, **how).strings
    assert abs(float((x == 0).double().mean()) - expected) < 4 * (0.25 / 120_000) ** 0.5 * 1.5
    assert expected > p + 0.01


@pytest.mark.slow
def test_amused_told_to_be_random_costs_what_random_sets_cost():
    g, _ = small()
    linear = AmusedScheduler(4, "linear")
    law = hl.audit(linear, g, steps=4, n=60_000, generator=rng(), settings={"temperature": (30, 30)}).law
    mixed = haste.mixture_price(g, 4, 100, generator=rng())
    error = (mixed.hi - mixed.lo) / 3.92
    assert law.divergence == pytest.approx(mixed.value, abs=4 * math.hypot(law.error, error))
    hot = hl.audit(linear, g, steps=4, n=20_000, generator=rng(), settings={"temperature": (1e3, 1e3)})
    assert hot.law.legal < law.legal - 0.02, "so hot that what was revealed is masked again"
    few = [haste.mixture_price(g, 4, 20, generator=rng(seed)) for seed in range(8)]
    values = np.array([x.value for x in few])
    assert abs(values.mean() - mixed.value) < 4 * math.hypot(values.std() / 8**0.5, error) + 0.003
    assert values.std() == pytest.approx((few[0].hi - few[0].lo) / 3.92, rel=0.7)
    assert haste.mixture_price(g, 8, 2, generator=rng()) == pytest.approx((0, 0, 0), abs=1e-9)


def test_a_power_is_read_off():
    K = np.array([4, 8, 16])
    found = haste.power(K, np.array([[1.0], [3.0], [5.0]]) / K**2)
    assert found == pytest.approx((-2, -2, -2))


def test_shares_of_legal_strings_are_by_grammar():
    how = dict(draws=3, generator=rng())
    found = haste.legal_shares("random", 50, 2, **SMALL, **how)
    assert found.shape == (3,) and ((found >= 0) & (found < 1)).all()
    assert haste.legal_shares("strided", 20, 8, **SMALL, **how).tolist() == [1, 1, 1]


def test_no_such_order():
    g, _ = small()
    with pytest.raises(ValueError, match="order: expected one of 'strided'"):
        haste.order("sorted", g, 1, 1, generator=rng())
