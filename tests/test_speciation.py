"""Free entropies against the enumeration of a channel, the identity that they obey, and the times that they give."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.enumeration import all_data
from hierlib.experiments import speciation
from hierlib.experiments.curves import half_height
from hierlib.probability import prior_marginals


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[(4, 2, 2, 2, 4), (3, 2, 2, 2, 4), (3, 1, 2, 2, 3), (2, 4, 3, 1, 2)])
def grammar(request):
    v, m, s, L, classes = request.param
    return hl.random_grammar(v=v, m=m, s=s, L=L, num_classes=classes, generator=rng())


def test_free_entropies_are_those_of_the_channel(grammar):
    g, x = grammar, all_data(grammar)
    e = torch.rand(6, g.d, g.v, dtype=torch.float64, generator=rng(1)) + 0.01  # of any channel: p(seen | leaf)
    of_datum = torch.stack([e[:, i, x[0][:, i]] for i in range(g.d)]).prod(0)  # (6, N)
    b = hl.infer(g, e).marginals
    for level, prior in enumerate(prior_marginals(g)):
        found = speciation.free_entropies(b[level], prior)
        for node in range(g.num_nodes(level)):
            for a in range(g.num_symbols(level)):
                has = x[level][:, node] == a
                if has.any():
                    expected = of_datum[:, has].mean(1).log() - of_datum.mean(1).log()
                    torch.testing.assert_close(found[:, node, a], expected, rtol=0, atol=1e-9)
                else:
                    assert torch.isneginf(found[:, node, a]).all()


def test_the_mean_of_e_to_minus_the_lead_is_one(grammar):
    """Over the truth and all that can be seen, listed: uniform noise on every leaf (Nishimori)."""
    g, x = grammar, all_data(grammar)
    seen = torch.cartesian_prod(*[torch.arange(g.v)] * g.d).reshape(-1, g.d)
    e = hl.UniformNoise(v=g.v, dtype=torch.float64).evidence(seen, 0.4)
    b = hl.infer(g, e, messages=False).marginals
    joint = torch.stack([e[:, i, x[0][:, i]] for i in range(g.d)]).prod(0) / len(x[0])  # (seen, N)
    assert float(joint.sum()) == pytest.approx(1)
    for level, prior in enumerate(prior_marginals(g)):
        for node in range(g.num_nodes(level)):
            if (prior[node] > 0).sum() < 2:
                continue  # nothing else is possible there
            total = 0.0
            for k, truth in enumerate(x[level][:, node].tolist()):
                here = torch.full((len(seen), 1), truth)
                part = b[level][:, node : node + 1], prior[node : node + 1]
                total += float((joint[:, k : k + 1] * (-speciation.lead_over_rest(*part, here)).exp()).sum())
            assert total == pytest.approx(1, abs=1e-9)


def test_another_symbol_is_one_that_the_node_can_have():
    prior = torch.tensor([[0.5, 0.0, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    marginal = torch.tensor([[0.7, 0.0, 0.2, 0.1], [1.0, 0.0, 0.0, 0.0]], dtype=torch.float64).expand(4000, 2, 4)
    truth = torch.zeros(4000, 2, dtype=torch.int64)
    lead = speciation.lead_over_another(marginal, prior, truth, generator=rng())
    expected = [np.log(0.7 / 0.5) - np.log(p / 0.25) for p in (0.2, 0.1)]
    values, counts = lead[:, 0].round(decimals=9).unique(return_counts=True)
    np.testing.assert_allclose(values, sorted(expected), atol=1e-8)
    assert abs(counts[0] - 2000) < 200 and lead[:, 1].isnan().all()


@pytest.mark.slow
def test_leads_fall_with_noise_and_the_finer_are_lost_later():
    size = dict(v=8, m=2, s=2, L=4, draws=6, data=8)
    t = np.geomspace(0.02, 2, 18)
    found = speciation.leads(hl.GaussianNoise(v=8, dtype=torch.float64), t, **size, generator=rng())
    assert found.mean.shape == found.square.shape == found.truth.shape == (6, 18, 5)
    assert (found.mean.mean(0)[0] > 5).all() and (np.abs(found.mean.mean(0)[-1]) < 1).all()
    assert (found.truth[:, 0] > 0.99).all()
    times = speciation.decided(found)
    assert all(one.lo <= one.value <= one.hi for one in times)
    assert times[0].value > times[2].value > times[4].value
    np.testing.assert_allclose(found.ratio[0], speciation.Leads(*found).ratio[0])
    against = speciation.class_against(found, 1)
    assert against.value == pytest.approx(times[4].value / times[1].value) and against.lo < against.value < against.hi
    half = half_height(t, found.truth.mean(0)[:, 4], chance=1 / 8).t
    of_half = speciation.class_against_half_height(found, v=8)
    assert of_half.value == pytest.approx(times[4].value / half) and of_half.lo < of_half.value < of_half.hi


def test_the_lead_is_the_mean_of_the_grammars_own_data():
    """One grammar by hand, with the same random numbers."""
    how, noise = dict(v=4, m=2, s=2, L=2), hl.UniformNoise(v=4, dtype=torch.float64)
    found = speciation.leads(noise, [0.3], **how, draws=1, data=5, generator=rng(7))
    again = rng(7)
    g = hl.random_grammar(**how, generator=again)
    x = hl.sample(g, 5, generator=again)
    b = hl.infer(g, noise.evidence(noise.corrupt(x[0], 0.3, generator=again), 0.3)).marginals
    for level, prior in enumerate(prior_marginals(g)):
        lead = speciation.lead_over_another(b[level], prior, x[level], generator=again)
        lead = lead[~lead.isnan()]
        assert found.mean[0, 0, level] == pytest.approx(float(lead.mean()))
        assert found.square[0, 0, level] == pytest.approx(float((lead**2).mean()))


def test_times_that_do_not_exist_and_noise_that_excludes():
    flat = np.ones((3, 4, 2))
    times = speciation.decided(speciation.Leads(np.arange(1.0, 5), flat, 1.5 * flat, flat))
    assert all(np.isnan(one.value) for one in times)
    how = dict(v=4, m=2, s=2, L=2, draws=2, data=3, generator=rng())
    with pytest.raises(ValueError, match=r"excludes no symbol, got some that is excluded at t = 0.1"):
        speciation.leads(hl.MaskNoise(v=4, dtype=torch.float64), [0.1], **how)
    with pytest.raises(ValueError, match="draws: expected at least 1"):
        speciation.leads(hl.MaskNoise(v=4), [0.1], **{**how, "draws": 0})
