"""No legal number of rules crashes a chapter: m = 1, and an m at which the class is lost at any noise.

The defaults are the book's own build. The runs go through the same cache.
"""

from pathlib import Path

import pytest

from hierlib.book.runs.checkout import chapters, find_checkout
from hierlib.book.runs.run import prepare
from hierlib.book.runs.sweep import execute_all

ROOT = find_checkout(Path(__file__).parent)
CHAPTERS = {slug: each for slug, each in chapters(ROOT).items() if "m" in each.parameters}
# Sizes are lowered where a chapter has them: what is tested is that every sentence and check fits the phase.
SMALL = {"draws": 12, "data": 2, "runs": 400, "L": 6}


def beyond(parameters) -> int:
    """The least m with m >= m_c = (v^s - 1) / (s (v - 1)), where one step up loses what it is told."""
    v, s = parameters["v"].default, parameters["s"].default
    return -(-(v**s - 1) // (s * (v - 1)))


POINTS = [(slug, point) for slug in CHAPTERS for point in ("m = 1", "m >= m_c")]


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("slug, point", POINTS)
def test_chapter_at(slug, point):
    parameters = CHAPTERS[slug].parameters
    small = {k: min(v, parameters[k].default) for k, v in SMALL.items() if k in parameters}
    m = 1 if point == "m = 1" else beyond(parameters)
    [done] = execute_all([prepare(CHAPTERS[slug], {**small, "m": m}, timeout=600)], workers=1)
    assert done.error is None, f"{done.error}\nthe notebook up to there: {done.notebook}"


def test_some_chapters_take_m():
    assert len(CHAPTERS) >= 3
