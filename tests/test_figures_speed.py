"""Figures of speed, drawn from results that are made up, and what is read off them."""

import pytest
import torch

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


def test_batches_are_drawn_in_units_of_whole_tiles():
    ratios = {"infer": [{"median": 3.0}, {"median": 1.0}], "class_posterior": [{"median": 2.0}, {"median": 1.0}]}
    table = {"parameters": dict(v=4, m=2, s=2, L=3, of=8), "batch": [1, 8], "times_that_of_the_whole": ratios}
    left, right = speed.batches([table, table]).fig.axes
    assert [line.get_ydata().tolist() for line in left.lines[:2]] == [[3.0, 1.0], [2.0, 1.0]]
    assert left.get_ylabel() == "time a datum, that in 8 = 1" and right.get_title() == "$v=4$, $m=2$, $s=2$, $L=3$"


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


def peers_of(**sizes):
    hierlib = {"times_slower_than_hierlib": 1.0, "microseconds_per_datum": {"median": 10.0}}
    slow = {"times_slower_than_hierlib": 5.0, "largest_difference_of_marginals": 3e-7}
    found = {"hierlib": hierlib, "slow": slow, "gone": {"failed": "not installed"}}
    cases = {title: {"parameters": dict(zip("vmsL", size)), "contenders": found} for title, size in sizes.items()}
    return {"peers": {"cases": cases}}


def test_sizes_of_contenders_stand_largest_first():
    groups = benchmarks.contenders_by_size(peers_of(low=(8, 2, 2, 9), wide=(64, 2, 2, 7), deep=(8, 2, 2, 12)))
    assert [*groups] == [
        "$v=8$, $m=2$, $s=2$, $L=12$",
        "$v=64$, $m=2$, $s=2$, $L=7$",
        "$v=8$, $m=2$, $s=2$, $L=9$",
    ]
    assert all(rows == {"hierlib": (10.0, 1.0), "slow": (50.0, 5.0)} for rows in groups.values())


def test_the_largest_difference_is_that_of_any_case():
    files = peers_of(a=(8, 2, 2, 4), b=(8, 2, 2, 5))
    assert benchmarks.largest_difference(files) == 3e-7
    files["peers"]["cases"]["b"]["largest_difference_of_marginals"] = 4e-7
    assert benchmarks.largest_difference(files) == 4e-7 and benchmarks.largest_difference({}) == 0


@pytest.mark.parametrize(
    "paper, single, best", [((9.0, 7.0), 8.0, 7.0), ((9.0, None), 8.0, 8.0), ((9.0, 10.0), None, 9.0)]
)
def test_the_authors_are_compared_at_their_best_batch(paper, single, best):
    many, one = paper
    cases = {"paper": {"authors": {"median": many}, "authors, one at a time": one and {"median": one}}}
    cases["one datum"] = {"authors": {"median": single}} if single else {}
    cpu = {"cases": {title: {"microseconds_per_datum": rows} for title, rows in cases.items()}}
    assert benchmarks.authors_best(cpu) == {"median": best}


def test_enough_data_are_those_that_come_within_twice_the_least():
    assert benchmarks.enough([row(x, batch=batch) for batch, x in ((1, 9.0), (4, 4.0), (16, 2.0), (64, 2.5))]) == 4


@pytest.mark.parametrize("s", [2, 3])
def test_both_backends_are_timed_on_as_many_leaves(s):
    asked = []

    def clock(work, data):
        work()
        asked.append(data)
        return float(len(asked))

    size = dict(v=4, m=2, s=s, batch=2)
    live = benchmarks.time_backends(clock, range(2, 5), **size, generator=torch.Generator().manual_seed(0))
    assert live.leaves.tolist() == [s**2, s**3, s**4] and live.noise == 7
    assert live.microseconds == {"cpu": [1, 3, 5], "torch": [2, 4, 6]} and live.largest_difference < 5e-6
    assert asked == [2 * s**2] * 2 + [2 * s] * 2 + [2] * 3
