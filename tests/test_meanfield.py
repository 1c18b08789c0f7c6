"""The mean field against closed forms, Monte Carlo over rule draws, and exact inference."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import hierlib as hl
from hierlib.experiments import tables
from hierlib.theory import meanfield as mf
from hierlib.theory.population import planted_rules

SIZES = [(32, 8, 2), (16, 4, 2), (8, 3, 3), (8, 6, 4), (5, 5, 2), (4, 1, 2), (2, 2, 3)]


@pytest.mark.parametrize("v, m", [(32, 8), (16, 4), (32, 2), (7, 3.5)])
def test_two_children_have_closed_forms(v, m):
    star = (m - 1) / (v - m)
    assert np.isclose(mf.fixed_points(v, m, 2)[1], star, rtol=1e-14)
    assert np.isclose(mf.critical_noise(v, m, 2), v * (v - 2 * m + 1) / ((v - 1) * (v - m)), rtol=1e-13)
    slope = 2 * (v - m) * (m - 1) * (v + 1) / (m * (v - 1) ** 2)
    assert np.isclose(mf.upward_map_derivative(star, v, m, 2), slope, rtol=1e-13)


def test_quoted_values():
    assert mf.fixed_points(32, 8, 2)[1] == pytest.approx(0.2917, abs=5e-5)
    assert mf.critical_noise([32, 16], [8, 4], 2) == pytest.approx([0.7312, 0.8], abs=5e-5)
    star = mf.fixed_points([32, 16], [8, 4], 2)[:, 1]
    assert mf.upward_map_derivative(star, [32, 16], [8, 4], 2) == pytest.approx([1.442, 1.36], abs=5e-4)
    assert mf.critical_noise(8, [4, 6], 4) == pytest.approx([0.986, 0.940], abs=5e-4)
    assert mf.critical_noise(32, [4, 6, 8, 10, 12, 14, 16], 2) == pytest.approx(
        [0.922, 0.834, 0.731, 0.610, 0.465, 0.287, 0.065], abs=6e-4
    )


@pytest.mark.parametrize("v, m, s", SIZES)
def test_fixed_points_are_fixed_and_exhaust_the_map(v, m, s):
    chance, star, one = mf.fixed_points(v, m, s)
    assert mf.upward_map(chance, v, m, s) == pytest.approx(chance, abs=1e-15)
    assert mf.upward_map(one, v, m, s) == 1
    if star <= 1:
        assert mf.upward_map(star, v, m, s) == pytest.approx(star, abs=1e-13)
    edges = np.linspace(0, 1, 997)[1:-1] + 1e-7  # between any two roots: 1/v and p* are no multiples of these
    signs = np.sign(mf.upward_map(edges, v, m, s) - edges)
    crossings = edges[:-1][np.diff(signs) != 0]
    expected = sorted(x for x in (chance, star) if 0 < x < 1)
    assert len(crossings) == len(expected) and np.allclose(crossings, expected, atol=2e-3)


@pytest.mark.parametrize("v, s", [(32, 2), (8, 4), (5, 3), (3, 2)])
def test_phases_follow_the_slopes(v, s):
    m = np.linspace(1, v ** (s - 1), 4001)
    phase = mf.phase(v, m, s)
    assert ((phase == "always") == (mf.upward_map_derivative(1 / v, v, m, s) >= 1)).all()
    assert ((phase == "never") == (mf.upward_map_derivative(1.0, v, m, s) >= 1)).all()
    noise = mf.critical_noise(v, m, s)
    assert (noise[phase == "always"] == 1).all() and (noise[phase == "never"] == 0).all()
    between = noise[phase == "below"]
    assert ((between > 0) & (between < 1)).all() and (np.diff(between) < 0).all()
    assert mf.phase(v, mf.m_c(v, s), s) == "never" and mf.phase(v, mf.m_KS(v, s), s) == "always"


def test_derivative_is_the_derivative():
    rng, h = np.random.default_rng(0), 1e-6
    p = rng.uniform(0.05, 0.95, 50)
    for v, m, s in SIZES:
        slope = (mf.upward_map(p + h, v, m, s) - mf.upward_map(p - h, v, m, s)) / (2 * h)
        assert np.allclose(mf.upward_map_derivative(p, v, m, s), slope, rtol=1e-6)


@pytest.mark.parametrize("eps, expected", [(0.2, 1.0), (0.7, 1.0), (0.76, 1 / 32), (0.99, 1 / 32)])
def test_deep_trees_keep_the_class_only_below_the_threshold(eps, expected):
    assert mf.solve(eps, 32, 8, 2, 80).P[-1] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("v, m, s", SIZES)
def test_limits_of_the_noise(v, m, s):
    p, q, P = mf.solve([0.0, 1.0], v, m, s, 6)
    assert (p[0] == 1).all() and (P[0] == 1).all()
    assert np.allclose(p[1], 1 / v, atol=1e-12) and P[1, -1] == pytest.approx(1 / v, abs=1e-12)
    assert (q[:, -1] == 1 / v).all()


def test_one_rule_repeats_the_parent_exactly():
    assert mf.downward_map(1.0, [0.2, 0.9], 16, 1, 2) == pytest.approx([1.0, 1.0])  # no synonyms
    assert mf.solve(0.999, 16, 1, 2, 400).P[-1] == pytest.approx(1.0)  # always recovered


def test_all_tuples_allowed_means_no_context():
    v, s, eps = 5, 3, 0.3  # m = v^(s-1): siblings are independent, so a leaf learns from itself alone
    m = v ** (s - 1)
    q = mf.downward_map(1 / v, np.linspace(0, 1, 11), v, m, s)
    assert np.allclose(q, 1 / v, atol=1e-3)
    assert mf.solve(eps, v, m, s, 12).p[-1] == pytest.approx(1 / v, abs=1e-4)


def test_broadcasting_agrees_with_loops():
    eps, m = np.linspace(0, 1, 7), np.array([1, 4, 8, 20, 32])
    grid = mf.solve(eps[:, None], 32, m, 2, 5)
    assert grid.p.shape == grid.q.shape == grid.P.shape == (7, 5, 6) and grid.p.dtype == np.float64
    for i, e in enumerate(eps):
        for j, k in enumerate(m):
            one = mf.solve(e, 32, int(k), 2, 5)
            assert all(np.array_equal(a[i, j], b) for a, b in zip(grid, one))
    assert mf.fixed_points([[4], [32]], [1, 2, 4], [2, 3, 2]).shape == (2, 3, 3)
    assert isinstance(str(mf.phase(32, 8, 2)), str) and mf.phase(32, [8, 9], 2).shape == (2,)


def test_map_stays_finite_for_huge_alphabets():
    p = mf.upward_map([0.0, 1e-8, 0.5, 1.0], 256, [1, 2, 8, 256**7], 8)  # 256^8 exceeds an int64
    assert np.isfinite(p).all() and (p >= 0).all() and (p <= 1).all()


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda: mf.upward_map(1.1, 32, 8, 2), "p: expected"),
        (lambda: mf.upward_map(np.nan, 32, 8, 2), "p: expected"),
        (lambda: mf.upward_map(0.5, 32, 33, 2), "m: expected"),
        (lambda: mf.upward_map(0.5, 32, 0.5, 2), "m: expected"),
        (lambda: mf.upward_map(0.5, 2.5, 1, 2), "v: expected"),
        (lambda: mf.upward_map_derivative(0.5, 32, 8, 1), "s: expected"),
        (lambda: mf.upward_excess(0.0, 32, 1, 2), "no ratio"),
        (lambda: mf.downward_map(-0.1, 0.5, 32, 8, 2), "q: expected"),
        (lambda: mf.downward_map(1.0, 0.0, 32, 1, 2), "no rule"),
        (lambda: mf.marginal(0.0, 1.0, 4), "agree"),
        (lambda: mf.solve(-0.1, 32, 8, 2, 3), "eps: expected"),
        (lambda: mf.solve(0.5, 32, 8, 2, 0), "L: expected"),
        (lambda: mf.solve(0.5, 32, 8, 2, 2.0), "L: expected"),
        (lambda: mf.fixed_points(32, [8, 40], 2), "got 40"),
        (lambda: mf.m_c(1, 2), "v: expected"),
    ],
)
def test_arguments_out_of_range(call, name):
    with pytest.raises(ValueError, match=name):
        call()


def _within(samples, expected, sigmas=4):
    """The mean over rule draws (first axis) agrees with the expectation."""
    error = samples.std(0, ddof=1) / len(samples) ** 0.5
    assert (np.abs(samples.mean(0) - expected) <= sigmas * error + 1e-12).all()


@pytest.mark.parametrize("v, m, s, p", [(8, 3, 2, 0.4), (6, 4, 3, 0.7), (32, 8, 2, 0.3)])
def test_upward_averages_over_rule_draws(v, m, s, p):
    n, draws = v**s - 1, 6000
    rules = planted_rules(draws, v=v, m=m, s=s, generator=torch.Generator().manual_seed(0)).numpy()
    wrong = (rules != 0).sum(-1)  # Hamming distance of each tuple, (draws, v, m)
    for k in range(1, s + 1):  # (30-32)
        mean = (m * v - 1) * math.comb(s, k) * (v - 1) ** k / n
        _within((wrong == k).sum((1, 2)).astype(float), mean)
    sampled = (rules == np.arange(s) // (s - 1)).all(-1)  # the tuple (0, …, 0, 1), where it was drawn
    drawn = sampled.any((1, 2))
    _within(sampled[drawn, 0].any(-1).astype(float), (m - 1) / (m * v - 1))  # (28)
    _within(sampled[drawn, 1].any(-1).astype(float), m / (m * v - 1))
    belief = p ** (s - wrong) * ((1 - p) / (v - 1)) ** wrong  # (22)
    message = belief.sum(-1)  # (23)
    rest = (1 - p**s) / n
    _within(message[:, 0], p**s + (m - 1) * rest)  # (33)
    _within(message[:, 1:], m * rest)
    _within(message.sum(-1), p**s + (m * v - 1) * rest)  # (36)
    _ratio_within(message, mf.upward_map(p, v, m, s))  # (37)


@pytest.mark.slow
@pytest.mark.parametrize("v, m, s", [(32, 8, 2), (8, 20, 3)])
def test_the_excess_is_that_of_drawn_tables(v, m, s):
    counts = tables.shell_counts(20_000, v=v, m=m, s=s, generator=torch.Generator().manual_seed(0)).double()

    def averages(p):
        own, drawn = (p**s + k / (v**s - 1) * (1 - p**s) for k in (m - 1, m * v - 1))
        return own, (drawn - own) / (v - 1), drawn, mf.upward_map(p, v, m, s)

    points = [0.2, 0.4, 0.6]
    found, excess = tables.averaging_error(counts, averages, points), mf.upward_excess(points, v, m, s)
    assert (excess > 0).all() and (np.abs(found.value - excess) < 0.15 * excess + (found.hi - found.value)).all()
    assert mf.upward_excess(points, v, v ** (s - 1), s) == pytest.approx([0, 0, 0], abs=1e-15)  # all tuples are drawn


@pytest.mark.parametrize("v, m, s, p, q", [(8, 3, 2, 0.4, 0.6), (6, 4, 3, 0.7, 0.2), (32, 8, 2, 0.3, 0.9)])
def test_downward_averages_over_rule_draws(v, m, s, p, q):
    n, draws, t = v**s - 1, 6000, p ** (s - 1)
    rules = planted_rules(draws, v=v, m=m, s=s, generator=torch.Generator().manual_seed(1)).numpy()
    first, wrong = rules[..., 0], (rules[..., 1:] != 0).sum(-1)
    for k in range(s):  # (47-49): tuples with a wrong, or the true, first symbol
        mean = (m * v - 1) * math.comb(s - 1, k) * (v - 1) ** k / n
        _within(((first == 1) & (wrong == k)).sum((1, 2)).astype(float), mean)
        if k:
            _within(((first == 0) & (wrong == k)).sum((1, 2)).astype(float), mean)
    down = np.full((v, 1), (1 - q) / (v - 1))
    down[0] = q
    weight = down * p ** (s - 1 - wrong) * ((1 - p) / (v - 1)) ** wrong
    message = np.stack([(weight * (first == a)).sum((1, 2)) for a in range(v)], -1)  # (46)
    c = (m - q) / n
    _within(message[:, 0], q * t + c * (1 - t))  # (50)
    _within(message[:, 1:], c)  # (51)
    _within(message.sum(-1), q * t + c * (v - t))  # (52)
    _ratio_within(message, mf.downward_map(q, p, v, m, s))  # (53)


def _ratio_within(message, expected):
    """The ratio of the averages, over draws (first axis), of the message at 0 and of its sum over symbols."""
    _within(message[:, 0] - expected * message.sum(-1), 0.0)


@pytest.fixture(scope="module", params=[(32, 8, 2, 8, 0.7312), (16, 4, 2, 7, 0.8)])
def against_inference(request):
    """Mean beliefs in the truth by exact inference, (draws, ε, level), and the mean field of as many levels."""
    v, m, s, L, threshold = request.param
    rng, eps = torch.Generator().manual_seed(2), np.array([0.05, 0.2, 0.4, 0.6, 0.66, 0.72, 0.76, 0.85, 0.95])
    found = []
    for _ in range(24):
        g = hl.random_grammar(v=v, m=m, s=s, L=L, generator=rng)
        x = hl.sample(g, 2, generator=rng)
        x = tuple(y.repeat(len(eps), 1) for y in x)
        noise = torch.tensor(eps).repeat_interleave(2)
        b = hl.infer(g, hl.epsilon_evidence(x[0], eps=noise, v=v, dtype=torch.float64))
        levels = [
            [z.gather(-1, y[..., None]).mean((1, 2)).reshape(-1, 2).mean(1) for z, y in zip(part, x)] for part in b[:3]
        ]
        found.append(torch.stack([torch.stack(part, -1) for part in levels]).numpy())
    found = np.stack(found, 1)
    near = (np.abs(eps - threshold) < 0.05)[:, None]
    return found, mf.solve(eps, v, m, s, L), near


@pytest.mark.parametrize("which, away, close", [("up", 0.01, 0.03), ("marginal", 0.005, 0.02)])
def test_mean_field_against_exact_inference(against_inference, which, away, close):
    found, theory, near = against_inference
    found, theory = (found[0], theory.p) if which == "up" else (found[2], theory.P)
    error = found.std(0, ddof=1) / len(found) ** 0.5
    allowed = 4 * error + away + np.where(near, close, 0.0)
    assert (np.abs(found.mean(0) - theory) <= allowed).all()


def test_mean_field_has_the_trend_of_the_downward_messages(against_inference):
    found, theory, _ = against_inference
    down = found[1].mean(0)
    for level in range(down.shape[1] - 2):
        assert spearmanr(down[:, level], theory.q[:, level]).statistic > 0.9


def test_the_best_kept_level_is_a_middle_one():
    found = mf.best_kept(32, 8, 2, 10)
    P = mf.solve(found.eps, 32, 8, 2, 10).P
    assert found.lead == pytest.approx(P[10] - P[0]) and found.level == P.argmax() and 0 < found.level < 10
    assert mf.best_kept(32, 8, 2, 2).lead <= 1e-6  # two levels are too few
