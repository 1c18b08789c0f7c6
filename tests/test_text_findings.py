"""What the U-turns of a text say: sums and intervals over passages, and words that change together."""

import numpy as np
import pytest
import torch
import xarray as xr

from hierlib.experiments.curves import Interval
from hierlib.text import findings, measure
from hierlib.text.corpus import SPECIAL, Vocabulary
from hierlib.text.uturn import chances, seeds_of


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


def of_reach(reaches, scale, d=16):
    """Sums over pairs whose correlation halves at every so many words, of passages of these sizes."""
    r = np.arange(d)
    return np.array(scale)[:, None] * 0.5 ** (r / reaches) * (d - r)


def test_what_a_text_has_beyond_its_control():
    sizes = [1.0, 2.0, 3.0, 2.0, 5.0]
    text, control = of_reach(2.0, sizes), of_reach(1.0, sizes)
    for found in (findings.beyond(text, control, paired=kind, seed=3) for kind in (True, False)):
        expected = [measure.chi(text[0]) - measure.chi(control[0]), measure.reach(text[0]) - measure.reach(control[0])]
        assert [found.chi.value, found.reach.value] == pytest.approx(expected) and found.reach.value > 4
        assert found.far.value == pytest.approx(measure.far(text[0], 5) - measure.far(control[0], 5))
        assert found.chi.lo == pytest.approx(found.chi.hi)  # passages differ in size only
    fewer = findings.beyond(text, control[:3], paired=False)
    assert fewer.chi.value == pytest.approx(expected[0])
    with pytest.raises(ValueError, match="expected the 5 passages of the text, got 3"):
        findings.beyond(text, control[:3], paired=True)


def test_passages_that_differ_together_leave_no_doubt_if_they_are_paired():
    sizes, mixed = np.ones(8), np.arange(8)[:, None] / 8
    control = of_reach(1.0, sizes) + mixed * of_reach(6.0, sizes)
    same = findings.beyond(control, control, paired=True)
    apart = findings.beyond(control, control, paired=False)
    assert same.chi.lo == same.chi.hi == 0 and apart.chi.lo < 0 < apart.chi.hi


def test_a_window_on_its_uturns_in_words():
    vocabulary = Vocabulary((*SPECIAL, "a", "b", "c"))
    start = np.array([[2, 3, 4, 2], [4, 4, 3, 3]])
    uniform = chances(torch.from_numpy(start[1:]), 1, seeds_of(7, [1]))[0, 0, 0].numpy()
    t = np.array([0.3, 1.0])
    sample = np.broadcast_to(start, (2, 1, 2, 4)).swapaxes(1, 2).copy()
    sample[1, 1, 0] = [2, 2, 2, 2]
    found = xr.Dataset(
        {"start": (("window", "place"), start), "sample": (("t", "window", "run", "place"), sample)},
        {"t": t},
        {"seed": 7},
    )
    one = findings.passage(found, 1, vocabulary)
    assert one.t.tolist() == [0, 0.3, 1]
    assert [[*row] for row in one.texts] == [[*"ccbb"], [*"ccbb"], [*"aaaa"]]
    assert one.erased.tolist() == [[False] * 4, (uniform < 0.3).tolist(), [True] * 4]
