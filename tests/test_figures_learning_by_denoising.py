"""The figures of learning by denoising, drawn from a study that no chapter has made."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from hierlib.book.figures import learning_by_denoising as figures
from hierlib.experiments.curves import Interval
from hierlib.networks.learnt import Needed, Turns, rule_interval

P = np.array([8, 16, 32])


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def study(kinds=("gaussian", "mask"), seeds=2):
    rng = np.random.default_rng(0)
    dims = {"process": len(kinds), "checkpoint": 2, "seed": seeds, "num_data": len(P)}

    def some(*more, checkpoint=True):
        sizes = {k: n for k, n in dims.items() if checkpoint or k != "checkpoint"} | dict(more)
        return tuple(sizes), rng.random(tuple(sizes.values())) * 0.4 + 0.4

    values = {"rule": some(("level", 3)), "copied": some(), "kl": some(("noise", 4)), "excess": some(("noise", 4))}
    values |= {
        "asked": (values["rule"][0], np.full_like(values["rule"][1], 200)),
        "excess_se": some(("noise", 4)),
        "copied_chance": some(checkpoint=False),
    }
    values |= {"copied_exact": some(checkpoint=False)}
    t = np.broadcast_to(np.array([0.02, 0.1, 0.5, 1.5]), (len(kinds), seeds, len(P), 4))
    values["gap_t"] = ("process", "seed", "num_data", "noise"), t
    places = dict(process=list(kinds), checkpoint=["best", "last"], num_data=P, level=[1, 2, 3])
    return xr.Dataset(values, places)


@pytest.mark.parametrize("kinds", [("gaussian", "mask"), ("mask",)])
def test_learnt_has_a_panel_a_process_and_a_line_a_level(kinds):
    table = study(kinds)
    drawing = figures.learnt(table, rule_interval(table, s=2), chance=0.375)
    axes = drawing.fig.axes
    assert [ax.get_title() for ax in axes] == [figures.TITLES[kind] for kind in figures.TITLES if kind in kinds]
    assert axes[-1].get_legend_handles_labels()[1] == ["level 1", "level 2", "level 3"] and drawing.alt
    assert all(len(ax.containers) == 3 for ax in axes) and axes[0].get_xlabel() == "training strings $P$"


def test_needed_leaves_out_what_is_not_learnt():
    mean, each = np.array([[20, 60, np.inf], [10, 30, 90]]), np.full((2, 2, 3), 30.0)
    drawing = figures.needed(study(), Needed(mean, each, Interval(1.0, 0.9, 1.1)), v=8, m=3)
    masks, gauss = drawing.fig.axes
    assert masks.get_lines()[0].get_ydata().tolist() == [72, 216, 648] and len(masks.texts) == 1 and not gauss.texts
    assert masks.get_lines()[-1].get_ydata().tolist() == [10, 30, 90] and drawing.alt  # by name, not by place


def test_gap_shows_the_chosen_numbers_of_strings():
    drawing = figures.gap(study(), [8, 32])
    masks, gauss = drawing.fig.axes
    assert gauss.get_legend_handles_labels()[1] == ["P = 8", "P = 32"] and len(masks.containers) == 2
    assert (masks.get_xscale(), gauss.get_xscale()) == ("linear", "log") and drawing.alt


def test_by_heart_is_a_line_beside_the_networks():
    heart = {kind: np.array([[0.3, 0.2, 0.1], [0.5, 0.4, 0.3]]) for kind in ("mask", "gaussian")}
    drawing = figures.by_heart(study(), heart)
    last = drawing.fig.axes[1]
    lines = dict(zip(*last.get_legend_handles_labels()[::-1], strict=True))
    assert list(lines) == ["network", "by heart"] and drawing.alt
    assert lines["by heart"].get_ydata() == pytest.approx([0.4, 0.3, 0.2])


def test_copies_names_both_checkpoints_and_chance():
    drawing = figures.copies(study())
    for ax in drawing.fig.axes:
        assert ax.get_legend_handles_labels()[1] == ["at the end", "at its best", "chance"]
    assert len(drawing.fig.axes[0].containers) == 3 and drawing.alt


def test_turns_draws_ratios_of_all_processes():
    t = np.array([0.05, 0.2, 0.8])
    rows = np.array([[1, 0.6, 0.2], [0.9, 0.5, 0.2]])
    found = Turns(t, {int(x): rows for x in P}, rows)
    shifts = {kind: {int(x): Interval(-0.3, -0.4, -0.2) for x in P} for kind in ("mask", "gaussian")}
    drawing = figures.turns(found, shifts, [8, 32], chance=0.125)
    left, right = drawing.fig.axes
    assert left.get_legend_handles_labels()[1] == ["P = 8", "P = 32", "exact"]
    assert right.get_legend_handles_labels()[1] == ["masks", "Gaussian noise"] and drawing.alt
    assert right.containers[0].lines[0].get_ydata() == pytest.approx([np.exp(-0.3)] * 3)
