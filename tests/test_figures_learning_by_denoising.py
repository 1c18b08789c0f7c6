"""The figures of learning by denoising, drawn from a study that no chapter has made."""

import json
import re
import shutil

import numpy as np
import pytest
import xarray as xr

from hierlib.book.figures import learning_by_denoising as figures
from hierlib.experiments.curves import Interval
from hierlib.networks.learnt import Needed, Turns, rule_interval

from .engine import JS, node

P = np.array([8, 16, 32])


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


def some_needed(kinds):
    mean = np.array([[20, 60, np.inf], [10, 30, 90]])[-kinds:]
    return Needed(mean, np.full((kinds, 2, 3), 30.0), Interval(1.0, 0.9, 1.1))


def test_the_live_figure_says_what_is_known_at_each_number_of_strings():
    table = study()
    drawing = figures.learnt(table, rule_interval(table, s=2), some_needed(2), chance=0.1, v=4, m=2)
    data = json.loads(re.search(r'application/json">(.*?)</script>', drawing.live, re.S)[1])
    assert [each["name"] for each in data["kinds"]] == [*figures.TITLES.values()] and data["law"] == [16, 32, 64]
    assert [each["half"] for each in data["kinds"]] == [[10, 30, 90], [20, 60, None]]  # by name, not by place
    rule = table.rule.sel(checkpoint="best").mean("seed")
    script = "return data.kinds.map((_, k) => data.P.map((_, i) => [T.known(data, k, i), T.sentence(data, k, i)]));"
    for kind, stops in zip(figures.TITLES, node(script, data, "learnt.js"), strict=True):
        for (known, words), amount in zip(stops, P, strict=True):
            each = rule.sel(process=kind, num_data=amount).values
            assert known["seen"] == [i for i, p in enumerate(each) if p >= 0.55]
            assert known["law"] == [i for i, needs in enumerate([16, 32, 64]) if needs <= amount]
            assert f"{each[2]:.2f} of level 3" in words and words.startswith(
                f"{amount} strings, {figures.TITLES[kind]}"
            )
    assert "by the law v·m^(ℓ+1): level 1 and level 2" in words and "level 3 never" in words
    assert "by the law v·m^(ℓ+1): no level" in stops[0][1]


def test_keys_and_taps_move_the_live_figure_on_a_phone(browser, tmp_path):
    live = figures.learnt(study(), rule_interval(study(), s=2), some_needed(2), chance=0.375, v=8, m=3).live
    shutil.copytree(JS.parent, tmp_path / "_static")
    script = '<script defer src="_static/js/live.js"></script><meta name="viewport" content="width=device-width">'
    (tmp_path / "page.html").write_text(f'<!doctype html><meta charset="utf-8">{script}<div class="live">{live}</div>')
    page = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True).new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    said, slider = page.locator("[role=status]"), page.locator("input[type=range]")
    slider.press("End")
    assert said.text_content().startswith("32 strings, masks")
    assert slider.get_attribute("aria-valuetext") == "32 strings"
    page.locator("label", has_text="Gaussian noise").tap()
    slider.press("Home")
    assert said.text_content().startswith("8 strings, Gaussian noise") and not complaints
    assert page.locator("polyline").count() == 3
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.context.close()


@pytest.mark.parametrize("kinds", [("gaussian", "mask"), ("mask",)])
def test_learnt_has_a_panel_a_process_and_a_line_a_level(kinds):
    table = study(kinds)
    drawing = figures.learnt(table, rule_interval(table, s=2), some_needed(len(kinds)), chance=0.375, v=8, m=3)
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
