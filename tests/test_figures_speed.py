"""Figures of speed, drawn from results that are made up, and what is read off them."""

import pytest
from matplotlib import pyplot as plt

from hierlib.book.figures import speed
from hierlib.book.runs import benchmarks
from hierlib.book.runs.benchmarks import Goal


def row(microseconds, *, v=32, m=8, s=2, L=4, batch=64, **more):
    messages, factors = benchmarks.messages_per_datum(v=v, m=m, s=s, L=L)
    spent = {"median": microseconds, "min": 0.9 * microseconds, "max": 1.2 * microseconds}
    parameters = {"v": v, "m": m, "s": s, "L": L, "batch": batch}
    counts = {"messages": messages, "factors": factors, "leaves": s**L}
    return {"microseconds_per_datum": spent, "parameters": parameters, **counts, **more}


def model_row(**size):
    """One whose time is 2 ns a symbol and 0.5 ns a factor of each message."""
    messages, factors = benchmarks.messages_per_datum(**size)
    return row((2 * size["v"] * messages + 0.5 * factors) / 1000, **size)


GROWTH = {
    "d": [row(2.0**L, L=L) for L in (4, 6, 8)],
    "m": [model_row(v=32, m=m, s=2, L=4) for m in (2, 4, 8)],
    "v": [model_row(v=v, m=8, s=2, L=4) for v in (8, 16, 32)],
    "s": [model_row(v=32, m=8, s=s, L=4) for s in (2, 3, 4)],
}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_contenders_stand_fastest_first_and_say_how_many_times_longer():
    drawing = speed.peers({"a": {"slow": (500.0, 50.0), "hierlib": (10.0, 1.0), speed.LIMIT: (4.0, 0.4)}})
    (ax,) = drawing.fig.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [speed.LIMIT, "hierlib", "slow"]
    assert [text.get_text() for text in ax.texts] == ["50 ×"] and "hierlib" in drawing.alt


def test_limits_show_the_distance_to_the_largest():
    limits = {"memory": 1.0, "L1": 4.0, "multiply-adds": 2.0}
    case = {"microseconds": 12.0, "limits_microseconds": limits, "times_the_limit": 3.0}
    (ax,) = speed.limits({"here": case}).fig.axes
    assert ax.lines[0].get_xdata().tolist() == [4.0, 12.0] and ax.texts[0].get_text() == "3.0 × the limit"


def test_two_rates_are_found_again_and_drawn():
    model = benchmarks.symbols_and_factors(GROWTH)
    assert (model.per_symbol, model.per_factor) == pytest.approx((2, 0.5)) and model.error < 1e-9
    laws = {axis: benchmarks.exponent(rows, axis) for axis, rows in GROWTH.items()}
    left, right = speed.growth(GROWTH, laws, model).fig.axes
    assert left.get_xlabel() == "leaves $d$" and laws["d"].exponent == pytest.approx(1)
    assert [text.get_text()[:3] for text in right.get_legend().get_texts()] == ["$m$", "$v$", "$s$"]


def test_memory_is_drawn_beside_what_is_returned():
    sizes = [row(1.0, L=L, marginals_MiB=2.0**L, peak_growth_MiB=1.5 * 2.0**L) for L in (4, 6)]
    batches = [row(8.0 / batch, batch=batch) for batch in (1, 2, 4)]
    left, right = speed.memory(batches, sizes).fig.axes
    assert right.lines[0].get_ydata().tolist() == [16.0, 64.0] and right.get_ylabel() == "MiB for 64 data"
    assert left.get_xlabel() == "data in a call" and left.get_yticklabels()


def test_both_backends_carry_their_exponent():
    (ax,) = speed.backends([4, 8, 16], {"cpu": [1.0, 2.0, 4.0], "torch": [9.0, 18.0, 36.0]}).fig.axes
    assert [text.get_text() for text in ax.texts] == ["plain torch\n1.00", "compiled\n1.00"]


@pytest.mark.parametrize(
    "goal, words",
    [
        (Goal(400.0, least=300), "400: reached"),
        (Goal(200.0, least=300), "200: missed, by a factor of 1.50"),
        (Goal(4.5, most=3), "4.5: missed, by a factor of 1.50"),
        (Goal(3.0, most=3), "3: reached"),
        (Goal(50.0, least=50, unit="1/{:.0f}"), "1/50: reached"),
        (Goal(None, least=50), "not measured"),
    ],
)
def test_goals_say_by_how_much_they_are_missed(goal, words):
    assert str(goal) == words


def test_the_committed_results_have_every_goal():
    files = {name: benchmarks.results(f"{name}.json") for name in ("cpu", "roofline", "scaling", "peers")}
    goals = benchmarks.goals(files)
    assert len(goals) == 12 and all(goal.value for goal in goals.values())
    found = benchmarks.contenders(files, "paper")
    assert found["hierlib"][1] == 1 and found[speed.LIMIT][1] < 1 < found["the authors' code"][1]
    assert all(spent == pytest.approx(found["hierlib"][0] * ratio) for spent, ratio in found.values())
