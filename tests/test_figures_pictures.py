"""Figures of images on a U-turn, drawn from pictures that are made up, and what is counted on them."""

import numpy as np
import pytest
import torch

from hierlib.book.figures import pictures
from hierlib.experiments.curves import Interval
from hierlib.images.kept import becomes, class_kept, kind_kept, middle
from hierlib.images.patches import Parts

T = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 1.0])


def named(kept=(1.0, 0.9, 0.7, 0.3, 0.05, 0.0), n=200):
    """Two classifiers that agree: image i has class i % 4, and another one, the next, once it is no longer kept."""
    start = torch.arange(n) % 4
    rows = [torch.where(torch.arange(n) < share * n, start, (start + 1) % 4) for share in kept]
    return torch.stack([torch.stack([start, *rows])] * 2)


def test_the_class_goes_where_half_of_it_is_lost():
    found = class_kept(named(), T)
    assert found.kept.shape == (2, 6, 200) and found.chance == 0
    np.testing.assert_allclose(found.band.value, [1.0, 0.9, 0.7, 0.3, 0.05, 0.0])
    assert found.half.value == pytest.approx(0.6, abs=0.02) and found.half.lo < found.half.value < found.half.hi
    assert found.fall == (0.9, 0.1)


def test_a_class_that_is_kept_has_no_half_height():
    found = class_kept(named(kept=[1.0] * 6), T)
    assert np.isnan(found.half.value) and np.isnan(middle(T, np.ones(6)))
    drawing = pictures.class_goes(T, found, np.linspace(0, 0.3, 6), lambda x: 1 - x)
    assert "around a time" not in drawing.alt and drawing.fig.axes[0].get_ylabel() == "class kept"


def test_what_becomes_what_is_in_per_cent_of_the_row():
    table = becomes(named(), 2, [0, 1, 2, 3])
    assert table.sum(1).tolist() == [100] * 4 and table[0, 0] == table.diag().min() == 70 and table[0, 1] == 30
    assert becomes(named(), 2, [0, 2]).tolist() == [[100, 0], [0, 100]], "only the classes asked for"
    (ax,) = pictures.becomes([table], [0.5], list("abcd")).fig.axes
    assert [text.get_text() for text in ax.texts][:2] == ["70", "30"] and ax.get_title() == "$t/T$ = 0.5"


def test_kinds_outlive_classes_that_turn_into_each_other():
    found = kind_kept(named(), T, [(0, 1), (2, 3)], 3)  # 0 becomes 1, of its kind; 1 becomes 2, of the other
    assert found.within == pytest.approx(0.5, abs=0.01) and found.within_by_chance == pytest.approx(0.5)
    alike = kind_kept(named(kept=(1.0, 0.9, 0.7, 0.3, 0.05, 0.01)), T, [(0, 1, 2, 3)], 3)
    assert alike.within == 1 and np.isnan(alike.half)


def made_up(shift):
    """Matches of own patches that are better by `shift` than those of another start."""
    rng = np.random.default_rng(0)
    other = torch.tensor(rng.uniform(0.5, 0.6, (len(T), 40, 2, 2)))
    mask = torch.ones_like(other, dtype=torch.bool)
    return Parts(other + shift, other, mask, (other + shift).mean((2, 3)), other.mean((2, 3)))


def test_parts_that_come_back_are_told_from_those_that_do_not():
    found = made_up(0.05)
    some = torch.arange(40) < 12
    assert found.difference(0).images == 40 and found.difference(0, some).images == 12
    assert found.difference(1, some).value == pytest.approx(0.05)
    assert found.found(95).double().mean() > 0.4 > 0.06 > made_up(0).found(95).double().mean()
    none = found.difference(0, torch.zeros(40, dtype=torch.bool))
    assert none.images == 0 and np.isnan(none.value) and np.isnan(none.standard_errors)


def test_few_changed_images_are_not_drawn():
    changed = torch.zeros(len(T), 40, dtype=torch.bool)
    changed[3:, :20], changed[0, :5] = True, True
    drawing = pictures.parts_come_back(T, made_up(0.05), changed, Interval(0.6, 0.55, 0.65), 3)
    drawn = [line.get_xdata().tolist() for line in drawing.fig.axes[0].lines if line.get_marker() == "D"]
    assert drawn == [T.tolist(), T[3:].tolist()]


def test_an_image_with_more_and_more_noise():
    image = np.zeros((1, 4, 4), np.uint8)
    drawing = pictures.noised(image, [image] * 2, [image] * 2, ["a", "a", "b"], ["0.1", "0.9"])
    assert [ax.get_xlabel() for ax in drawing.fig.axes] == ["a", "", "", "a", "b"]


def test_cards_are_live_and_six_rows_are_printed():
    images = np.zeros((3, 8, 4, 4), np.uint8)
    names = [["x"] * 8, ["x"] * 8, ["y"] * 8]
    found = np.ones((3, 8, 2, 2), bool)
    drawing = pictures.turned([0, 0.5, 1], images, names, found, start=1, show=[0, 2])
    assert drawing.live.count("pictures-card") >= 8 and len(drawing.fig.axes) == 12
