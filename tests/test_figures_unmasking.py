"""The figures of saying several words at once, drawn from results that no chapter has made."""

import numpy as np
import pytest
import torch

from hierlib.book.figures import unmasking as figures
from hierlib.experiments.curves import Interval
from hierlib.networks.haste import Bill, Law
from hierlib.networks.schedulers import Audit

K = np.array([4, 8, 16])


def around(y):
    return Interval(np.asarray(y), np.asarray(y) * 0.9, np.asarray(y) * 1.1)


def test_price_names_every_order_and_draws_its_guides():
    found = {name: figures.Prices(K, around(100.0 / K**power)) for name, power in (("strided", 2), ("random", 1))}
    found["blocks"] = figures.Prices(K[:2], Interval(np.array([3.0, 2.0]), np.array([-1.0, 1.0]), np.array([5.0, 3.0])))
    drawing = figures.price(found, guides={"strided": 2, "random": 1}, at=8)
    (ax,) = drawing.fig.axes
    assert [text.get_text() for text in ax.texts] == ["strided", "random", "blocks"] and drawing.alt
    dotted = [line for line in ax.get_lines() if line.get_linestyle() == ":"]
    assert [line.get_ydata() == pytest.approx(found[n].nats.value) for line, n in zip(dotted, found, strict=False)]
    assert len(dotted) == 2 and min(ax.containers[2].lines[2][0].get_segments()[0][:, 1]) == pytest.approx(0.1)


def test_where_steps_from_full_to_empty():
    hidden = np.array([0.0, 0.5, 1.0])
    way = figures.Way([1.0, 0.5], [0.75, 0.25])
    drawing = figures.where(hidden, hidden * 3, 4, {"strided": way})
    left, right = drawing.fig.axes
    steps = [line.get_ydata()[0] for line in left.get_lines()[:-1]]
    assert steps == pytest.approx([3, 2.25, 1.5, 0.75]) and left.get_xlim() == (1, 0) and drawing.alt
    (line,) = right.get_lines()
    assert line.get_xdata().tolist() == [1, 0.5, 0] and line.get_ydata().tolist() == [0, 0.75, 1]


@pytest.mark.parametrize("names", [("strided", "random"), tuple(figures.LOOKS)])
def test_legal_has_strata_and_a_curve_an_order(names):
    nodes = [np.arange(2 ** (3 - level)) % 2 == 0 for level in range(4)]
    drawing = figures.legal({name: nodes for name in names}, {name: [1, 0.5, 0.5, 1] for name in names})
    *strata, curves = drawing.fig.axes
    assert [ax.get_title() for ax in strata] == list(names) and drawing.alt
    assert curves.get_legend_handles_labels()[1] == list(names) and len(curves.get_xticks()) == 4


def test_trained_stacks_error_on_haste():
    haste, error = torch.tensor([3.0, 1.0, 0.0]), torch.tensor([0.5, 1.0, 2.0])
    rows = torch.tensor([[0.0], [0.1], [-0.1]])  # data
    bill = Bill(haste + rows, error + rows, haste + error + rows)
    drawing = figures.trained([1, 2, 4], {128: {"random": bill, "strided": bill}, 4096: {"random": bill}})
    few, many = drawing.fig.axes
    assert (few.get_title(), many.get_title()) == ("128 training strings", "4\N{NO-BREAK SPACE}096 training strings")
    below, above = (bars.patches for bars in many.containers[:2])
    assert [bar.get_y() for bar in above] == [bar.get_height() for bar in below] == pytest.approx(
        [3, 1, 0]
    ) and drawing.alt
    assert few.get_legend_handles_labels()[1] == ["haste, random", "own error", "haste, strided"]


def test_amused_draws_settings_beside_the_price():
    settings = {name: figures.Audited([4, 8], around([0.4, 0.2])) for name in ("default", "linear", "random")}
    runs = [0.5, 2.0], around([0.75, 0.72])
    drawing = figures.amused([0.1, 1, 10], [0.8, 0.75, 0.7], runs, settings, ([2, 4, 8], [0.9, 0.3, 0]), truth=0.7)
    left, right = drawing.fig.axes
    assert right.get_legend_handles_labels()[1] == ["price of random sets", *settings] and drawing.alt
    assert left.get_lines()[0].get_ydata()[0] == 0.7 and len(right.containers) == 3


def audit(calls, nats, error=0.001, missing=False, levels=(1.0, 0.9, 0.5)):
    law = Law(float("inf") if missing else nats, error, 0.5, nats)
    height = torch.tensor(levels, dtype=torch.float64)
    return Audit(torch.zeros(100, 4), calls, height, height * 0, torch.tensor([3, 4]), law, {})


def test_audits_are_drawn_by_the_kind_of_noise_and_lower_bounds_point_up():
    found = {
        "one by one": [audit(8, -0.0004)],
        "BlockRefinement": [audit(8, 1.5, 0.03, missing=True)],
        "DDPM": [audit(k, 1 / k**2) for k in (5, 20)],
    }
    drawing = figures.audits(found, {"10 steps": audit(10, 0.1), "50 steps": audit(50, 0.0, levels=(1.0, 1.0, 1.0))})
    above, left, right = drawing.fig.axes
    assert [label.get_text() for label in above.get_yticklabels()] == [
        "one by one, 8 calls",
        "BlockRefinement, 8 calls",
    ]
    assert [line.get_marker() for line in above.get_lines()[2::2]] == ["D", ">"] and drawing.alt
    names = [ax.get_legend_handles_labels()[1] for ax in (left, right)]
    assert names == [["DDPM"], ["10 steps", "50 steps"]]
    assert left.get_lines()[1].get_ydata() == pytest.approx([1 / 25, 1 / 400])
    assert right.get_lines()[0].get_ydata().tolist() == [1, 0.9, 0.5]
    words = figures.audit_words(found)
    assert words["one-by-one-8-nats"] == "\N{MINUS SIGN}0.000 ± 0.002" and words["ddpm-20-legal"] == "0.900 0.500"
    assert words["blockrefinement-8-nats"] == "at least 1.5"
