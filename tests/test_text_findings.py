"""What the U-turns of a text say: sums and intervals over passages, and words that change together."""

import numpy as np
import pytest
import torch
import xarray as xr

from hierlib.experiments.curves import Interval
from hierlib.text import findings


def study():
    kept = np.arange(10.0).reshape(2, 5)  # (t, window)
    return xr.Dataset({"kept": (("t", "window"), kept), "passage": ("window", [7, 3, 7, 3, 3])})


def test_windows_of_a_passage_are_summed():
    found = findings.by_passage(study(), "kept")
    assert found.tolist() == [[1 + 3 + 4, 6 + 8 + 9], [0 + 2, 5 + 7]]  # passages 3 and 7
    assert findings.by_passage(study(), study().kept.values + 1)[1].tolist() == [4, 14]
    assert findings.windows_of(study()).tolist() == [3, 2]


def test_an_interval_over_passages_holds_the_value():
    rows = np.array([0.0, 0, 0, 0, 0, 0, 0, 0, 0, 10])
    found = findings.over_passages(lambda x: np.array([x, 4.0]), rows, seed=1)
    assert found.value.tolist() == [1, 4] and (found.lo <= found.value).all() and (found.value <= found.hi).all()
    assert findings.error_of(Interval(1.0, 0.0, 3.92)) == 1


def test_the_share_that_is_erased_grows_with_t():
    found = findings.erased_share(torch.zeros(3, 40, dtype=torch.int64), [0.0, 0.25, 1.0], samples=50, seeds=[1, 2, 3])
    assert (
        found[0].tolist() == [0] * 3
        and found[2].tolist() == [1] * 3
        and found[1] == pytest.approx([0.25] * 3, abs=0.04)
    )
    assert findings.come_back(np.array(1.6), np.array(0.8), np.array(2.0)) == pytest.approx(0.5)


def test_words_that_change_together_are_named():
    start = torch.tensor([1, 2, 3, 4])
    y = start.repeat(40, 1)
    y[::2, 0] = y[::2, 2] = 0  # the first and the third change together
    y[1::4, 1] = 0
    found = findings.together(y, start)
    assert found[0, 2] == pytest.approx(1) and np.isnan(found.diagonal()).all() and np.isnan(found[3]).all()
    words = ["a", "b", "c", "d"]
    assert findings.strongest(found, words, 1) == ["“a ⋯ c” (1.00)"]
    assert [word[:5] for word in findings.strongest(found, words, 9)[1:]] == ["“b c”", "“a b”"]  # d never changes
