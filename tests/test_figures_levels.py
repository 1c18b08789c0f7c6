"""The live figure of chapter 3: what its script is given."""

import base64
import json
import re

import numpy as np
import pytest

from hierlib.book.figures.levels import levels_html


def example(L=3, s=2, n=5):
    rng = np.random.default_rng(0)
    kept = [rng.random((n, s ** (L - l))) < 0.5 for l in range(L + 1)]
    t = np.geomspace(0.02, 0.5, n)
    curve_t = np.geomspace(0.01, 1, 30)
    curves = np.exp(-curve_t[:, None] * np.arange(1, L + 2))
    return {"kept": kept, "t": t, "alpha_bar": np.exp(-2 * t), "curve_t": curve_t, "curves": curves}


def test_the_bits_are_the_symbols_kept_class_first():
    data = example()
    found = json.loads(re.search(r'application/json">(.*?)</script>', levels_html(**data), re.S)[1])
    for i, text in enumerate(found["kept"]):
        bits = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8))[:15].astype(bool)
        assert bits[0] == data["kept"][3][i, 0]
        assert (bits[7:] == data["kept"][0][i]).all()
    assert found["s"] == 2 and len(found["P"]) == len(found["now"]) == len(found["colours"]) == 4


def test_curves_are_cut_to_the_slider_and_read_off_at_its_stops():
    data = example()
    found = json.loads(re.search(r'application/json">(.*?)</script>', levels_html(**data), re.S)[1])
    assert found["curve_t"][0] == found["t"][0] and found["curve_t"][-1] == found["t"][-1]
    assert found["now"][1] == pytest.approx(np.exp(-2 * data["t"]), abs=0.005)
    assert all(data["t"][0] <= x <= data["t"][-1] for x in found["ticks"]) and 0.1 in found["ticks"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t": np.linspace(0.02, 0.5, 5)}, "evenly spaced in ln t"),
        ({"curves": np.ones((30, 3))}, r"\(30, 4\)"),
        ({"kept": example(n=4)["kept"]}, r"kept\[0\]"),
    ],
)
def test_a_figure_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        levels_html(**{**example(), **change})
