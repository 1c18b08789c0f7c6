"""Half heights, slopes, widths and crossings, on curves whose answers are known."""

import numpy as np
import pytest

from hierlib.book.runs.quantities import phase_diagram
from hierlib.experiments.curves import (
    Interval,
    between,
    bootstrap,
    crossing,
    estimate,
    half_height,
    last_above,
    mean_interval,
    normal_interval,
    peak,
    slope_at,
    standard_error,
    width,
    worst,
)


def fall(t, at, steep):
    return 1 / (1 + (t / at) ** steep)


@pytest.mark.parametrize("steep", [1.5, 5, 20])
@pytest.mark.parametrize(("top", "chance"), [(1.0, 0.0), (0.9, 0.2)])
def test_half_height_and_slope_of_a_logistic_fall(steep, top, chance):
    t = np.geomspace(0.001, 10, 400)
    found = half_height(t, chance + (top - chance) * fall(t, 0.07, steep), chance=chance, top=top)
    assert found.t == pytest.approx(0.07, rel=1e-3)
    assert found.slope == pytest.approx((top - chance) * steep / 4, rel=0.03)


def test_half_height_takes_noise_and_few_points():
    rng = np.random.default_rng(0)
    t = np.geomspace(0.05, 0.1, 14)
    found = [half_height(t, fall(t, 0.07, 16) + rng.normal(0, 0.01, 14), chance=0) for _ in range(200)]
    assert np.mean([f.t for f in found]) == pytest.approx(0.07, rel=0.002)
    assert np.mean([f.slope for f in found]) == pytest.approx(4, rel=0.03)
    two = half_height([1, 2], [0.9, 0.1], chance=0)
    assert two.t == pytest.approx(2**0.5) and two.slope == pytest.approx(0.8 / np.log(2))


def test_a_second_fall_elsewhere_does_not_count():
    t = np.geomspace(0.01, 100, 300)
    y = fall(t, 0.1, 8) + 0.4 * (np.abs(np.log(t / 10)) < 1)
    assert half_height(t, y, chance=0).t == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("y", [[1, 0.9, 0.8], [0.4, 0.3, 0.2]])
def test_no_half_height_is_nan_not_a_guess(y):
    assert np.isnan(half_height([1, 2, 3], y, chance=0)).all()
    assert np.isnan(width([1, 2, 3], y, chance=0))


def test_width_of_a_logistic_fall():
    t = np.geomspace(0.001, 10, 2000)
    assert width(t, fall(t, 0.07, 5), chance=0) == pytest.approx(2 * np.log(9) / 5, rel=1e-3)


def test_slope_at_a_noise_level():
    t = np.geomspace(0.01, 1, 100)
    assert slope_at(t, fall(t, 0.1, 4), 0.1) == pytest.approx(1, rel=0.05)
    assert slope_at(t, 3 - np.log(t) ** 2, 0.2) == pytest.approx(2 * np.log(0.2))
    assert np.isnan(slope_at(t, t, 5.0))


def test_crossing_is_the_last_fall_below():
    t = np.array([1.0, 2, 4, 8, 16])
    assert crossing(t, [1, -1, 1, 1, -1], np.zeros(5)) == pytest.approx(8 * 2**0.5)
    assert np.isnan(crossing(t, [-1, -1, 0, 0, 1], np.zeros(5)))


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside = []
    for i in range(300):
        lo, hi = bootstrap(float, rng.exponential(size=60), seed=i, num=300)
        inside.append(lo < 1 < hi)
    assert 0.89 < np.mean(inside) < 0.975


def test_bootstrap_pairs_arrays_of_equal_length():
    a = np.random.default_rng(2).normal(size=(40, 3))
    lo, hi = bootstrap(lambda x, y: x - y, a, a + 1)
    assert lo == pytest.approx([-1, -1, -1]) and hi == pytest.approx([-1, -1, -1])
    lo, hi = bootstrap(lambda x, y: x - y, a[:, 0], a[:30, 0])
    assert lo < hi


def test_intervals_over_rows_of_draws():
    rows = np.random.default_rng(3).normal(5.0, 2.0, (400, 3))
    found, near = mean_interval(rows, num=2000), normal_interval(rows)
    assert np.array_equal(found.value, near.value) and found.value.shape == (3,)
    assert found.lo == pytest.approx(near.lo, abs=0.03) and found.hi == pytest.approx(near.hi, abs=0.03)
    assert near.hi - near.lo == pytest.approx(2 * 1.96 * rows.std(0, ddof=1) / 20)
    ratio = estimate(lambda a, b: a / b, rows, 2 * rows)
    assert all(z == pytest.approx([0.5] * 3) for z in ratio)
    one = ratio.at(1)
    assert isinstance(one, Interval) and one.bounds == (one.lo, one.hi) and np.ndim(one.value) == 0
    with pytest.raises(ValueError, match="two draws"):
        standard_error(rows[:1])


def test_the_worst_gap_is_positive_and_keeps_its_interval():
    gap = Interval(np.array([0.1, -0.3]), np.array([0.0, -0.4]), np.array([0.2, -0.1]))
    assert worst(gap) == (0.3, 0.1, 0.4)


def test_last_above_is_where_a_curve_stays_below():
    t = [0.0, 0.2, 0.4, 0.6]
    assert last_above(t, [1, 0, 1, 0], 0.5) == pytest.approx(0.5)
    assert last_above(t, [1, 1, 0.5, 0], [0.0, 0.5, 0.5, 1]) == pytest.approx(0.4)
    assert last_above(t, [0, 0, 0, 0], 0.5) == 0.0 and last_above(t, [1, 1, 1, 1], 0.5) == 0.6


def test_between_two_noise_levels():
    t, y = np.array([0.1, 0.2, 0.4]), np.array([[1.0, 0.8, 0.2], [0.9, 0.7, 0.1]])
    assert between(t, y, 0.2) == pytest.approx([0.8, 0.7]) and between(t, y, 0.1) == pytest.approx([1.0, 0.9])
    assert between(t, y, 0.2 * 2**0.5) == pytest.approx([0.5, 0.4])
    assert between(t, y[..., None], 0.4).shape == (2, 1)
    assert np.isnan(between(t, y, np.nan)).all() and np.isnan(mean_interval(between(t, y, np.nan))).all()
    with pytest.raises(ValueError, match=r"from 0\.1 to 0\.4, got 0\.5"):
        between(t, y, 0.5)


def test_peak_of_a_parabola_between_points():
    x = np.linspace(0, 1, 11)
    assert peak(x, 2 - (x - 0.43) ** 2) == pytest.approx((0.43, 2.0))
    assert peak(x, x) == (1.0, 1.0) and peak(x, 0 * x) == (0.0, 0.0)


def test_bad_curves_are_refused():
    with pytest.raises(ValueError, match="positive and increasing"):
        half_height([0.0, 1.0], [1, 0], chance=0)
    with pytest.raises(ValueError, match="of its shape"):
        crossing([1, 2, 3], [1, 2], [1, 2, 3])


def test_width_in_the_noise_itself():
    t = np.linspace(0.1, 1, 10)
    assert width(t, np.linspace(1, 0, 10), chance=0, log=False) == pytest.approx(0.8 * 0.9)


@pytest.mark.parametrize("read", [lambda t, y: last_above(t, y, 0.5), peak], ids=["last_above", "peak"])
def test_curves_out_of_order_or_with_gaps_are_refused(read):
    t, y = np.array([0.0, 0.1, 0.3, 0.9]), np.array([0.9, 0.8, 0.4, 0.1])
    read(t, y)
    for bad in (t[::-1], t[[1, 0, 2, 3]], np.array([0, 0.1, 0.1, 0.9]), np.array([0, 0.1, 0.3, np.nan])):
        with pytest.raises(ValueError, match="finite and increasing"):
            read(bad, y)
    with pytest.raises(ValueError, match="y of its shape"):
        read(t, y[:3])
    for hole in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"expected finite heights, got .* at t = 0\.3"):
            read(t, np.where(t == 0.3, hole, y))


def test_a_height_that_is_missing_and_a_peak_of_two_points_are_refused():
    with pytest.raises(ValueError, match=r"expected finite heights, got nan at t = 2"):
        last_above([1, 2, 3], [1, 1, 0], [0.5, np.nan, 0.5])
    with pytest.raises(ValueError, match="expected 3 or more t"):
        peak([1, 2], [0, 1])


def test_one_draw_has_no_interval():
    for found in (mean_interval([0.3]), estimate(lambda a, b: a - b, [0.5], [0.1, 0.3])):
        assert found.value == pytest.approx(0.3) and np.isnan(found.bounds).all()
    found = mean_interval([[1.0, 2.0, 3.0]])
    assert found.value.tolist() == [1, 2, 3] and found.lo.shape == (3,) and np.isnan(found.bounds).all()
    for read in (mean_interval, lambda rows: bootstrap(float, rows)):
        with pytest.raises(ValueError, match="two draws or more, got none"):
            read([])


def test_a_phase_diagram_of_one_grammar_gives_no_interval():
    size = dict(v=6, m=2, s=2, L=3, data=8, reach=0.5, seed=2, device="cpu")
    one, two = (phase_diagram(draws=draws, **size) for draws in (1, 3))
    assert np.isfinite(one.threshold).any() and np.isnan([one.low, one.high]).all()
    assert (two.low < two.high).any()
