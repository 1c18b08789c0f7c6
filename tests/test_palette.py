"""The colours of the style sheet, by number: text is readable on its ground, lines and marks are seen."""

import re
from pathlib import Path

import pytest

from hierlib.book.page import style

CSS = (Path(__file__).parents[1] / "book" / "_assets" / "css" / "hier.css").read_text("utf-8")
_COLOUR = re.compile(r"--hier-([a-z]+): (#[0-9a-f]{3,6});")
BLOCKS = {
    mode: dict(_COLOUR.findall(re.search(rf'theme="{mode}"\][^{{]*{{([^}}]*)}}', CSS)[1])) for mode in ("light", "dark")
}
COMMON = dict(re.findall(r"--hier-(class|leaf): (#[0-9a-f]{6});", CSS))


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    digits = colour.lstrip("#")
    digits = "".join(2 * c for c in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_formula():
    assert contrast("#fff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("mode", BLOCKS)
@pytest.mark.parametrize("ground", ["paper", "wash"])
@pytest.mark.parametrize("text", ["ink", "muted", "link"])
def test_text_is_readable(mode, ground, text):
    assert contrast(BLOCKS[mode][text], BLOCKS[mode][ground]) >= 4.5


@pytest.mark.parametrize("mode", BLOCKS)
def test_marks_and_lines_are_seen(mode):
    paper, colours = BLOCKS[mode]["paper"], BLOCKS[mode] | COMMON
    marks = [colours["changed"], colours["class"], colours["leaf"], style.CHANGED, style.CHANCE, *style.palette(10)]
    assert len(marks) == 16
    assert {mark: round(contrast(mark, paper), 2) for mark in marks if contrast(mark, paper) < 3} == {}


@pytest.mark.parametrize("mode", BLOCKS)
def test_what_is_erased_is_nearly_the_ground(mode):
    assert 1.1 < contrast(BLOCKS[mode]["erased"], BLOCKS[mode]["paper"]) < 2
