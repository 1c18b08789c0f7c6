"""The live figures of images and of families of curves: what Python writes is what the scripts read."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from hierlib.book.figures.family import BLUR, family_html, thinned
from hierlib.book.figures.pictures import pictures_html, strips
from tests.engine import node

RNG = np.random.default_rng(0)
T, N = 4, 3
IMAGES = RNG.integers(0, 256, (T, N, 8, 8), dtype=np.uint8)
NAMES = [["coat", "bag", "boot"], ["coat", "bag", "boot"], ["shirt", "bag", "boot"], ["shirt", "bag", "sandal"]]
FOUND = RNG.random((T, N, 2, 5)) < 0.5


def data_of(markup):
    return json.loads(re.search(r'application/json">(.*?)</script>', markup, re.S)[1])


def test_patches_and_sentences_of_the_pictures():
    markup = pictures_html([0, 0.1, 0.5, 1], IMAGES, NAMES, FOUND, start=2)
    script = """
      const bits = Uint8Array.from(atob(data.found.bits), (c) => c.charCodeAt(0));
      const patches = (i, k) => [...Array(10).keys()].map((p) => T.found(data, bits, i, k, p));
      return [data.t.map((_, i) => data.names[0].map((_, k) => patches(i, k))),
              data.t.map((_, i) => T.sentence(data, i))];"""
    found, said = node(script, data_of(markup), "pictures.js")
    np.testing.assert_array_equal(np.array(found).reshape(FOUND.shape), FOUND)
    assert said[0].startswith("No noise") and "all 3 are still what they were" in said[1]
    assert "1 of 3 are another class" in said[2] and "2 of 3 are another class" in said[3]
    assert markup.count('class="pictures-card"') == N and markup.count('type="checkbox"') == 1


def test_colour_and_no_switch():
    markup = pictures_html([0, 1], np.zeros((2, 1, 4, 4, 3), np.uint8), [["a"], ["b"]])
    assert "checkbox" not in markup and "found" not in data_of(markup)


@pytest.mark.parametrize(
    "change, why",
    [
        (dict(images=IMAGES.astype(float)), "uint8"),
        (dict(t=[0, 1]), r"with T = 2"),
        (dict(names=NAMES[:3]), "3 names for each of 4 times"),
        (dict(start=4), "start among them"),
        (dict(found=FOUND[:2]), "two axes of patches"),
    ],
)
def test_pictures_that_do_not_fit(change, why):
    with pytest.raises(ValueError, match=why):
        pictures_html(**dict(t=[0, 0.1, 0.5, 1], images=IMAGES, names=NAMES) | change)


def test_strips_mark_what_has_changed():
    fig = strips([0, 0.1, 0.5, 1], IMAGES, NAMES, [0, 2, 3])
    labels = [ax.get_xlabel() for ax in fig.axes]
    plt.close(fig)
    assert labels == ["coat", "× shirt", "× shirt", "bag", "bag", "bag", "boot", "boot", "× sandal"]


def test_a_family_of_curves():
    x, curves = np.linspace(0, 1, 5), RNG.random((2, 5))
    markup = family_html(
        x, curves, ["a", "b"], ["one", "two"], axes=("x", "y"), slider="which", points={1: [[0, 1, 0, 2]]}
    )
    data = data_of(markup)
    np.testing.assert_allclose(data["curves"], curves, atol=1e-4)
    assert data["points"] == {"1": [[0, 1, 0, 2]]} and 'max="1"' in markup
    script = "return data.map(([lo, hi]) => T.ticks(lo, hi));"
    assert node(script, [[0, 1], [0, 9.4], [0.2, 0.98]], "family.js") == [
        [0, 0.2, 0.4, 0.6, 0.8, 1],
        [0, 2, 4, 6, 8],
        [0.2, 0.4, 0.6, 0.8],
    ]
    with pytest.raises(ValueError, match="as many sentences"):
        family_html(x, curves, ["a", "b"], ["one"], axes=("x", "y"), slider="which")
    with pytest.raises(ValueError, match="one of 2 curves"):
        family_html(x, curves, ["a", "b"], ["one", "two"], axes=("x", "y"), slider="which", start=2)


def test_no_curve_misses_its_own_maximum():
    """Narrow peaks at places that are no multiple of anything, a valley, and a straight line."""
    x = np.linspace(0.01, 0.99, 491)
    curves = np.array([h / (1 + ((x - at) / w) ** 2) for h, at, w in [(14, 0.7323, 0.01), (9, 0.411, 0.03)]])
    curves = np.concatenate([curves, [5 - curves[0] / 3, 3 * x]])
    data = data_of(family_html(x, curves, [*"abcd"], [*"abcd"], axes=("x", "y"), slider="which"))
    drawn = np.array([np.interp(x, data["x"], y) for y in data["curves"]])
    assert drawn.max(1) == pytest.approx(curves.max(1), abs=1e-4) == np.max(data["curves"], 1)
    assert drawn.min(1) == pytest.approx(curves.min(1), abs=1e-4)
    assert np.abs(drawn - curves).max() < BLUR * np.ptp(curves) + 1e-3 and 10 < len(data["x"]) < 120
    few, same = thinned([0, 1, 2, 5], [[1, 3, 5, 11]])
    assert few.tolist() == [0, 5] and same.tolist() == [[1, 11]]
