"""The price of revealing several leaves at once: against the sampler's own law on all strings, and its runs."""

import itertools
import math

import pytest
import torch
from scipy import stats

import hierlib as hl
from hierlib import unmask
from hierlib.enumeration import all_data

SIZES = [(4, 2, 2, 3, 4), (3, 2, 2, 3, 4), (3, 2, 3, 2, 3), (4, 1, 2, 3, 2), (3, 3, 2, 2, 3)]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def small(v, m, s, L, classes):
    g = hl.random_grammar(v=v, m=m, s=s, L=L, num_classes=classes, generator=rng())
    return g, all_data(g)[0], lambda e: hl.infer(g, e, messages=False).marginals[0]


def orders(g, n, rounds):
    return {
        "random": unmask.random_order(n, g.d, generator=rng(1)),
        "strided": unmask.strided(g.d, rounds),
        "digit-reversed": unmask.digit_reversed(g.s, g.L),
        "blocks": unmask.blocks(g.d),
        "certain": unmask.by_certainty,
        "uncertain": unmask.by_uncertainty,
    }


def law(g, data, order, rounds):
    """q(x) of every datum by the list of all data: in each round the marginals of those that still fit."""
    hot = torch.nn.functional.one_hot(data, g.v).double()
    q, seen = torch.ones(len(data), dtype=torch.float64), torch.zeros_like(data, dtype=torch.bool)
    for k in range(rounds):
        fits = torch.stack([((data == x) | ~s).all(1) for x, s in zip(data, seen, strict=True)]).double()
        belief = torch.einsum("nk,kdv->ndv", fits / fits.sum(1, keepdim=True), hot)
        score = order(belief).double().expand(data.shape).masked_fill(seen, torch.inf)
        size = -(-(k + 1) * g.d // rounds) - -(-k * g.d // rounds)
        now = torch.zeros_like(seen)
        for row, each in enumerate(score.tolist()):
            for i in sorted(range(g.d), key=lambda i: (round(each[i], 9), i))[:size]:
                now[row, i] = True
        q *= torch.where(now, belief.gather(2, data[..., None])[..., 0], 1.0).prod(1)
        seen |= now
    assert seen.all()
    return q


@pytest.mark.slow
@pytest.mark.parametrize(("v", "m", "s", "L", "classes"), SIZES)
def test_it_is_the_divergence_from_the_samplers_own_law(v, m, s, L, classes):
    g, data, exact = small(v, m, s, L, classes)

    def steady(e):  # so that what is equally certain is so in both ways of computing it
        return exact(e).round(decimals=12)

    for rounds in sorted({1, 2, 3, g.d}):
        for name, order in orders(g, len(data), rounds).items():
            log_p = hl.log_probability(g, data)
            each = unmask.price(steady, data, order, rounds, log_p, v=v)
            if not name.endswith("certain"):
                torch.testing.assert_close(each, log_p - law(g, data, order, rounds).log(), rtol=0, atol=1e-9)
            assert each.mean() > -1e-9, "a divergence"
            if rounds == g.d:
                assert each.abs().max() < 1e-9, "one leaf at a time costs nothing, for each datum"


def test_adaptive_orders_take_the_leaves_that_they_say():
    """By certainty on a law that is written out: two leaves known, one almost, the rest blank."""
    belief = torch.full((1, 5, 2), 0.5, dtype=torch.float64)
    belief[0, 3], belief[0, 1] = torch.tensor([0.99, 0.01]), torch.tensor([0.9, 0.1])
    leaves = torch.zeros(1, 5, dtype=torch.int64)
    for order, cost in ((unmask.by_certainty, [3, 1, 0]), (unmask.by_uncertainty, [0, 2, 4])):
        asked = []

        def denoise(e, asked=asked):
            asked.append((e == 0.5).all(2)[0])  # hidden
            return belief

        unmask.price(denoise, leaves, order, [3, 4, 5], 0.0, v=2)
        assert (~asked[1]).nonzero()[:, 0].tolist() == sorted(cost)
    g, data, exact = small(4, 2, 2, 3, 4)
    log_p = hl.log_probability(g, data)
    prices = [unmask.price(exact, data, unmask.by_certainty, k, log_p, v=4).mean() for k in (1, 2, 4)]
    assert prices[0] > prices[1] > prices[2] > 0
    independent = unmask.price(exact, data, unmask.blocks(8), 1, log_p, v=4).mean()
    blank = exact(torch.ones(1, 8, 4, dtype=torch.float64))
    assert float(independent) == pytest.approx(float(torch.special.entr(blank).sum()) - hl.entropy(g))


def test_random_sets_cost_what_their_profile_says():
    """Averaged over all orders of a small grammar: the sum over rounds of sizes times entropies, minus the entropy."""
    g, data, exact = small(3, 2, 2, 2, 3)
    log_p, f = hl.log_probability(g, data), torch.zeros(g.d, dtype=torch.float64)
    profiles, prices, ranks = [], [], list(itertools.permutations(range(g.d)))
    for rank in ranks:
        fixed = torch.tensor(rank).expand(len(data), -1)
        prices.append(unmask.price(exact, data, lambda belief, fixed=fixed: fixed, [1, 4], log_p, v=3).mean())
        for j in range(g.d):
            belief = exact(hl.MaskNoise(v=3, dtype=torch.float64).evidence(data.masked_fill(fixed >= j, 3)))
            h = (torch.special.entr(belief).sum(2) * (fixed >= j)).sum(1) / (g.d - j)
            f[j] += h.mean() / len(ranks)
    assert float(f.sum()) == pytest.approx(hl.entropy(g))  # one at a time
    assert float(sum(prices) / len(prices)) == pytest.approx(float(f[0] + 3 * f[1] - f.sum()))
    for seed in range(200):
        profiles.append(unmask.profile(exact, data, range(g.d), v=3, generator=rng(seed)).mean(0))
    found = torch.stack(profiles)
    assert ((found.mean(0) - f).abs() < 5 * found.std(0) / 200**0.5 + 1e-9).all()


def test_cheapest_sizes_by_brute_force():
    f = torch.rand(9, dtype=torch.float64, generator=rng()).cumsum(0).flip(0)
    for rounds in range(1, 10):
        best = math.inf, ()
        for cut in itertools.combinations(range(1, 9), rounds - 1):
            at = (0, *cut, 9)
            best = min(best, (float(sum((b - a) * f[a] for a, b in itertools.pairwise(at)) - f.sum()), at[1:]))
        found = unmask.cheapest_sizes(f, rounds)
        assert found.seen == best[1] and found.price == pytest.approx(best[0], abs=1e-12)
    assert unmask.cheapest_sizes(f, 9).price == pytest.approx(0, abs=1e-12)


def test_orders_reveal_what_their_names_say():
    belief = torch.full((1, 8, 2), 0.5)
    assert unmask.strided(8, 4)(belief).tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert unmask.digit_reversed(2, 3)(belief).argsort().tolist() == [0, 4, 2, 6, 1, 5, 3, 7]
    assert unmask.digit_reversed(3, 2)(belief).argsort().tolist() == [0, 3, 6, 1, 4, 7, 2, 5, 8]
    rank = unmask.random_order(500, 8, generator=rng())(belief)
    assert (rank.sort(1).values == torch.arange(8)).all() and abs(rank.double().mean(0) - 3.5).max() < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 2, 8])
def test_runs_of_the_sampler_follow_its_law(rounds):
    g, data, exact = small(4, 2, 2, 3, 4)
    order = unmask.strided(g.d, rounds)
    y = unmask.draw(exact, 60 * len(data), order, rounds, d=g.d, v=4, generator=rng(2))
    price = unmask.price(exact, data, order, rounds, hl.log_probability(g, data), v=4)
    q = (hl.log_probability(g, data) - price).exp()
    place = {tuple(row): i for i, row in enumerate(data.tolist())}
    which = torch.tensor([place.get(tuple(row), len(data)) for row in y.tolist()])
    count = torch.bincount(which, minlength=len(data) + 1).double()
    expected = torch.cat([q, 1 - q.sum(0, keepdim=True)]) * len(y)
    if rounds == g.d:
        assert count[-1] == 0, "all are data"
        count, expected = count[:-1], expected[:-1] * len(y) / expected[:-1].sum()
    else:
        assert count[-1] > 0, "contradictions end in strings that are no data, and in no error"
    few = expected < 5
    observed, awaited = (torch.cat([x[~few], x[few].sum()[None]]) if few.any() else x for x in (count, expected))
    assert stats.chisquare(observed.numpy(), awaited.numpy()).pvalue > 1e-4


def test_deep_contradictions_have_an_answer():
    g = hl.random_grammar(v=32, m=2, s=2, L=8, generator=rng())
    y = unmask.draw(
        lambda e: hl.infer(g, e, messages=False).marginals[0], 8, unmask.blocks(256), 4, d=256, v=32, generator=rng()
    )
    assert y.shape == (8, 256) and not hl.log_probability(g, y).isfinite().any()


def test_a_sampler_that_cannot_make_a_datum_costs_everything():
    g, data, _ = small(4, 2, 2, 3, 4)
    known = torch.zeros(4, dtype=torch.float64).index_fill(0, data[0, :1], 1.0)
    cost = unmask.price(lambda e: known.expand(e.shape), data, unmask.blocks(8), 2, hl.log_probability(g, data), v=4)
    assert torch.isposinf(cost[(data != data[0, 0]).any(1)]).all()


def test_bad_input_is_refused():
    _, data, exact = small(4, 2, 2, 3, 4)
    how = dict(v=4)
    for rounds in (0, 9, 2.0, [], [3, 2, 8], [4, 4, 8], [4], [0, 8]):
        with pytest.raises(ValueError, match="rounds: expected"):
            unmask.price(exact, data, unmask.blocks(8), rounds, 0.0, **how)
    for order in (lambda b: torch.arange(7), lambda b: 3):
        with pytest.raises(ValueError, match="order: expected scores of shape"):
            unmask.price(exact, data, order, 2, 0.0, **how)
    with pytest.raises(ValueError, match="denoise: expected marginals"):
        unmask.price(lambda e: e[:, :1], data, unmask.blocks(8), 2, 0.0, **how)
    with pytest.raises(ValueError, match="the denoiser's belief: expected finite"):
        unmask.price(lambda e: e * torch.nan, data, unmask.blocks(8), 2, 0.0, **how)
    for bad in (dict(floor=0.0), dict(floor=1.5), dict(n=0), dict(generator=None)):
        words = {"n": 2, "d": 8, "v": 4, "generator": rng(), **bad}
        with pytest.raises(ValueError, match=r"(floor|n|generator): expected"):
            unmask.draw(exact, words.pop("n"), unmask.blocks(8), 2, **words)
    for sizes in ([], [8], [-1], [0.5]):
        with pytest.raises(ValueError, match="sizes: expected"):
            unmask.profile(exact, data, sizes, v=4, generator=rng())
    with pytest.raises(ValueError, match="rounds: expected at most one a leaf"):
        unmask.cheapest_sizes([1.0, 2.0], 3)
    with pytest.raises(ValueError, match="entropies: expected finite"):
        unmask.cheapest_sizes([1.0, float("nan")], 1)
