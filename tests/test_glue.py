"""What a chapter hands to its page, and the style of its figures."""

import re
from itertools import pairwise

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import sympy as sp

from hierlib.book.figures import strata
from hierlib.book.page import glue, style
from hierlib.book.page.setup import setup
from hierlib.experiments.curves import Interval

ALT = "A line that goes up from left to right."


@pytest.fixture(autouse=True)
def chapter():
    """Each test is a chapter of its own, and leaves matplotlib as it was."""
    with mpl.rc_context():
        setup(0)
        yield
    plt.close("all")


@pytest.fixture
def glued(monkeypatch):
    seen = {}
    monkeypatch.setattr(glue, "_glue", lambda key, value, display: seen.update({key: value._repr_mimebundle_()}))
    return seen


def line(label="a line"):
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], label=label)
    ax.set_xlabel("noise $t$")
    return fig


def test_a_figure_is_inline_svg_in_the_ink_of_the_page(glued):
    glue.show("fig-a", glue.Drawing(line(), 'A line; "x" < 1 at its left end.'))
    page = glued["fig-a"]["text/html"]
    assert page.startswith("<svg") and 'role="img"' in page
    assert 'aria-label="A line; &quot;x&quot; &lt; 1 at its left end."' in page
    assert "currentColor" in page and style.INK.lower() not in page.lower()
    assert not re.search(r"<svg[^>]*\s(width|height)=", page)
    assert glued["fig-a"]["image/png"].startswith("iVBOR")
    assert not plt.get_fignums()


def test_ids_carry_the_key_and_every_reference_finds_its_own():
    page = glue.svg(line(), "fig-a", alt=ALT) + glue.svg(line(), "fig-b", alt=ALT)
    ids = re.findall(r'\sid="([^"]+)"', page)
    used = {a or b for a, b in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)}
    assert ids and len(ids) == len(set(ids)) and set(ids) == used
    assert all(name.startswith(("fig-a-", "fig-b-")) for name in ids)


def test_the_same_figure_is_the_same_file():
    assert glue.svg(line(), "fig-a", alt=ALT) == glue.svg(line(), "fig-a", alt=ALT)


@pytest.mark.parametrize("alt", ["", "fig-a", "_images/a-picture-of-it.png", "short text"])
def test_a_figure_without_words_is_refused(glued, alt):
    with pytest.raises(ValueError, match="alt must say in a sentence"):
        glue.show("fig-a", glue.Drawing(line(), alt))


def test_a_key_is_used_once_in_a_chapter(glued):
    glue.text("word", "never")
    with pytest.raises(ValueError, match="'word' is already used"):
        glue.number("word", 1.0)
    setup(0)
    glue.text("word", "always")


def test_a_heavy_figure_warns():
    fig, ax = plt.subplots()
    ax.scatter(*np.random.default_rng(0).random((2, 5000)))
    with pytest.warns(UserWarning, match="rasterized=True"):
        glue.svg(fig, "fig-a", alt=ALT)


@pytest.mark.parametrize(
    "value, fmt, interval, shown",
    [
        (0.0701, ".3f", None, "0.070"),
        (0.0701, ".3f", (0.0691, 0.0711), "0.070 ± 0.001"),
        (0.0701, ".3f", (0.0691, 0.0751), "0.070 [0.069, 0.075]"),
        (-1.5, ".1f", None, "\N{MINUS SIGN}1.5"),
        (2047, "d", None, "2047"),
        (-0.004, ".2f", (-0.004, 0.21), "0.00 [0.00, 0.21]"),
        (-0.05, ".2f", None, "\N{MINUS SIGN}0.05"),
        (20_000, ",d", None, "20\u202f000"),
    ],
)
def test_numbers(glued, value, fmt, interval, shown):
    glue.number("n", value, fmt, interval)
    assert glued["n"]["text/plain"] == repr(shown)  # quoted: bare, {glue:text} would evaluate it


def test_a_number_outside_its_interval_is_refused(glued):
    with pytest.raises(ValueError, match="outside its interval"):
        glue.number("n", 1.0, interval=(2.0, 3.0))


def test_a_number_that_does_not_exist_is_none_never_nan(glued):
    glue.numbers({"a": None, "b": float("nan"), "c": (float("inf"), ".2f"), "d": Interval(1.0, float("nan"), 2.0)})
    assert [glued[key]["text/plain"] for key in "abcd"] == ["'none'"] * 3 + ["'1'"]


def test_many_numbers_at_once(glued):
    found = {
        "whole": np.int64(20_000),
        "small": 0.0701,
        "three": (0.0701, ".3f", (0.0691, 0.0711)),
        "own": Interval(0.0701, 0.0702, 0.0703),  # of a resampling that just misses it
        "share": (Interval(0.121, 0.111, 0.131), ".0%"),
        "ratio": (0.08, "+.1%"),
        "word": "always",
    }
    glue.numbers(found)
    shown = {key: value["text/plain"].strip("'") for key, value in glued.items()}
    assert shown == {
        **{"whole": "20000", "small": "0.0701", "three": "0.070 ± 0.001", "own": "0.0701 [0.0701, 0.0703]"},
        **{"share": "12 ± 1\\xa0%", "ratio": "+8.0\\xa0%", "word": "always"},
    }
    glue.numbers({"x": 3, "y": 0.5}, ".2f")
    assert [glued[key]["text/plain"] for key in "xy"] == ["'3.00'", "'0.50'"]


def test_the_note_tells_of_another_phase(glued):
    from hierlib.book.page.phase import phase_note

    said = []
    for m in (8, 1, 20):
        setup(0)
        phase_note(32, m, 2, 10)
        said.append(glued["phase-note"]["text/plain"])
    assert "those of the paper" in said[0] and "m = 1, s = 2, L = 10, which keeps the class" in said[1]
    assert "m = 20, s = 2, L = 10, which loses the class" in said[2]
    setup(0)
    phase_note(8, 2, 3, 6, usual=(8, 2, 3, 6))
    assert "those of the grammar of its defaults" in glued["phase-note"]["text/plain"]


def test_the_note_tells_of_other_models(glued):
    from hierlib.book.page.models import models_note

    said = []
    for usual in (True, False):
        setup(0)
        models_note(usual, "ADM 256, on the images of val")
        said.append(glued["models-note"]["text/plain"])
    assert "this page are about Fashion-MNIST and the models that come with the book" in said[0]
    assert "other models, images or U-turns: ADM 256, on the images of val." in said[1]


def test_many_equations_as_a_reader_orders_them(glued):
    p, v = sp.symbols("p v")
    glue.equations({"eq-a": ("F(p)", v - p), "eq-b": r"\nu = 1"}, reorder={"- p + v": "v - p"})
    assert glued["eq-a"]["text/latex"] == r"$\displaystyle F(p) = v - p$"
    assert glued["eq-b"]["text/latex"] == r"$\displaystyle \nu = 1$"


def test_full_sizes_are_the_runners(monkeypatch, tmp_path):
    monkeypatch.delenv("HIERLIB_RUN_DIR", raising=False)
    with pytest.raises(ValueError, match="got it outside a run"):
        setup(0, "full")
    monkeypatch.setenv("HIERLIB_RUN_DIR", str(tmp_path))
    assert setup(3, "full").initial_seed() == setup(3, "quick").initial_seed() == 3


def test_equations(glued):
    p = sp.Symbol("p")
    glue.math("eq-a", sp.Eq(sp.Function("F")(p), p**2))
    glue.math("eq-b", r"\nu = 1")
    assert glued["eq-a"]["text/latex"] == r"$\displaystyle F{\left(p \right)} = p^{2}$"
    assert glued["eq-b"]["text/latex"] == r"$\displaystyle \nu = 1$"


def test_a_live_figure_brings_its_still_twin(glued):
    glue.show("fig-a", glue.Drawing(line(), ALT, '<div class="live-stage"></div>'))
    page = glued["fig-a"]["text/html"]
    assert page.index("live-stage") < page.index("live-still") < page.index("<svg")
    assert 'id="fig-a-still-' in page


def luminance(colour):
    c = np.array(mpl.colors.to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(a, b):
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("L", [1, 3, 4, 7, 10, 14])
def test_every_level_can_be_seen_on_light_and_on_dark(L):
    colours = style.palette(L)
    assert len(set(colours)) == len(colours) == L + 1 == len(style.widths(L))
    assert colours[0] == "#00A5AC" and colours[-1] == "#A73B6D"
    assert min(contrast(c, ground) for c in colours for ground in ("#FFFFFF", "#121212")) >= 3


def test_the_ten_levels_are_those_of_the_design():
    assert style.palette(10) == list(style._STOPS)


def test_a_logarithmic_axis_has_plain_ticks():
    ax = plt.figure().add_subplot()
    for ends, labels in (((0.04, 0.7), "0.05 0.1 0.2 0.5"), ((0.2, 0.65), "0.2 0.3 0.4 0.5 0.6"), ((3, 300), "5")):
        style.log_axis(ax, *ends)
        assert ax.get_xlim() == ends
        assert " ".join(label.get_text() for label in ax.get_xticklabels()).startswith(labels)
    for ends in ((0, 1), (2, 1)):
        with pytest.raises(ValueError, match="0 < lo < hi"):
            style.log_axis(ax, *ends)


def test_points_bring_their_own_bars():
    ax = plt.figure().add_subplot()
    drawn = [style.data(ax, [1, 2], np.array([3.0, 4]), np.array([[2.0, 2], [4, 5]])),
             style.data(ax, [1, 2], Interval(np.array([3.0, 4]), np.array([2.0, 2]), np.array([4.0, 5])))]  # fmt: skip
    assert np.array_equal(*(bars.lines[2][0].get_segments() for bars in drawn))


def test_names_of_curves_do_not_touch():
    fig, ax = plt.subplots()
    for k in range(5):
        ax.plot([0, 1], [0, 0.01 * k], label=f"level {k}")
    ax.set_ylim(0, 1)
    texts = style.label_lines(ax)
    fig.draw_without_rendering()
    boxes = sorted((t.get_window_extent() for t in texts), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))
    heights = [t.get_window_extent().y0 for t in texts]
    assert heights == sorted(heights)


def test_spread_is_the_nearest_order_with_gaps():
    np.testing.assert_allclose(style._spread(np.array([0.5, 0.0, 0.5]), 0.2), [0.4, 0.0, 0.6])
    np.testing.assert_allclose(style._spread(np.array([0.1, 0.9]), 0.2), [0.1, 0.9])


def test_the_ruler_shows_the_signal_where_the_noise_is():
    fig, ax = plt.subplots()
    ax.plot([0, 0.4], [1, 0])
    style.noise_ruler(ax, lambda t: np.exp(-2 * t), half=0.1, band=(0.09, 0.11), chance=0.03)
    fig.draw_without_rendering()
    [ruler] = ax.child_axes
    ticks = {float(label.get_text()): x for x, label in zip(ruler.get_xticks(), ruler.get_xticklabels())}
    assert ticks
    for signal, t in ticks.items():
        assert t == pytest.approx(-np.log(signal) / 2, abs=1e-4)


def test_strata_refuse_what_is_no_tree():
    kept = [np.ones((2, 3, n), bool) for n in (4, 2, 1)]
    t = np.array([0.1, 0.2, 0.3])
    assert '"s":2' in strata.strata_html(kept, t, t, t, t)
    with pytest.raises(ValueError, match="one value per noise"):
        strata.strata_html(kept, t, t[:2], t, t)
    with pytest.raises(ValueError, match="expected the shape"):
        strata.strata_html([kept[0], kept[1], kept[1]], t, t, t, t)


def test_powers_are_raised_and_text_survives_the_role(glued):
    from myst_nb.core.variables import format_plain_text

    glue.text("power", "one of 10^924")
    glue.number("many", 20_000, ",d")
    glue.number("small", 0.01, ".3f")
    shown = {key: format_plain_text(glued[key]["text/plain"], "s") for key in ("power", "many", "small")}
    assert shown == {"power": "one of 10⁹²⁴", "many": "20\u202f000", "small": "0.010"}


@pytest.mark.parametrize("rate", [1, 3, 8])
def test_the_numbers_of_the_signal_kept_do_not_run_together(rate):
    fig, axes = plt.subplots(1, 2, figsize=(6, 3.8), width_ratios=[3, 2])
    axes[0].set_xlim(-0.03, 1.03)
    style.noise_ruler(axes[0], lambda t: np.exp(-rate * t))
    fig.canvas.draw()
    numbers = [each.get_window_extent() for each in axes[0].child_axes[0].get_xticklabels()]
    assert len(numbers) >= 2
    assert all(right.x0 - left.x1 > 3 for left, right in pairwise(sorted(numbers, key=lambda box: box.x0)))
