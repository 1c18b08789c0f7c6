"""Statistics of layers on cosines that are made up, so that every answer is known before."""

import numpy as np
import pytest
import torch

from hierlib.images import layer_statistics as found
from hierlib.images import probe
from hierlib.images.classifier import ImageCNN
from hierlib.images.layer_statistics import Look
from hierlib.images.probe import LayerSimilarity
from hierlib.images.sampler import UTurns

T = np.array([0.02, 0.1, 0.4, 0.7, 1.0])
LAYERS = ["first", "middle", "logits"]
NOISE = torch.linspace(-0.01, 0.01, 40, dtype=torch.float64)[:, None]  # of images around the mean


def a_look(first, logits, unrelated=(0.0, 0.0), kept=(40, 40, 30, 10, 5)):
    """40 images with these means at each time; the middle layer is between; the first so many keep their class."""
    rows = [torch.tensor([a, (a + b) / 2, b], dtype=torch.float64) for a, b in zip(first, logits, strict=True)]
    alike = [
        LayerSimilarity(LAYERS, row + NOISE * torch.tensor([1, 1, 2]), torch.arange(40) < n)
        for row, n in zip(rows, kept, strict=True)
    ]
    pairs = torch.tensor([[unrelated[0], 0.0, unrelated[1]]], dtype=torch.float64).repeat(50, 1)
    return Look(alike, pairs)


@pytest.fixture
def inverted():
    """Logits .2 ahead at 0.1, the first layer .3 ahead at 0.7, of which .1 are those of unrelated images."""
    return [a_look((0.9, 0.7, 0.6, 0.5, 0.1), (1.0, 0.9, 0.7, 0.2, 0.0), unrelated=(0.1, 0.0)) for _ in range(2)]


def test_who_is_ahead_before_and_after(inverted):
    plain, fair = (found.ahead(inverted, T, 0.5, subtract=subtract) for subtract in (False, True))
    assert plain.before.value == pytest.approx(0.2) and plain.after.value == pytest.approx(0.3) and plain.t == 0.7
    assert fair.before.value == pytest.approx(0.3) and fair.after.value == pytest.approx(0.2)
    assert fair.before.error == pytest.approx(1.96 * float(NOISE.std()) / 40**0.5)
    assert fair.before.sure and fair.after.sure and fair.signs == (True, True)
    assert found.ahead(inverted, T, 0.8).t == 1.0 and found.ahead(inverted, T, np.nan).t == 1.0
    assert found.ahead(inverted, T, 0.5, first=1, subtract=False).before.value == pytest.approx(0.1)


def test_peaks_are_compared_like_means(inverted):
    assert found.peaks(inverted).shape == (2, 5, 3)
    fair = found.peaks_ahead(inverted, T, 0.5, num=50)
    assert fair.t == 0.7 and fair.before.value == pytest.approx(0.3, abs=0.06) and fair.after.sure


def test_the_question_is_asked_in_other_ways(inverted):
    raw = [a_look((0.8,) * 5, (0.9,) * 5) for _ in range(2)]
    rows = found.ways(inverted, raw, ["net-0", "net-1"], T, 0.5)
    before = {name: round(row.before.value, 2) for name, row in rows.items() if name != "peak instead of mean"}
    assert before == {
        "as above": 0.3,
        "nothing subtracted": 0.2,
        "divided by $\\sqrt{E[a^2]}$": 0.1,
        "second layer as the first": 0.1,  # the middle layer is .1 below; for unrelated images it is at 0
        "net 0": 0.3,
        "net 1": 0.3,
    }
    assert next(iter(rows)) == "as above" and rows["as above"] == found.ahead(inverted, T, 0.5)
    assert rows["peak instead of mean"].before.value == pytest.approx(0.3, abs=0.06)


def test_networks_with_other_numbers_of_layers_are_compared_at_their_ends(inverted):
    long = inverted[0]
    short = Look([LayerSimilarity(LAYERS[::2], a.cosine[:, ::2], a.kept) for a in long.alike], long.unrelated[:, ::2])
    for both in (found.ahead, found.peaks_ahead):
        assert both([long, short], T, 0.5).before.value == pytest.approx(both([long], T, 0.5).before.value)


def test_networks_that_differ_widen_the_interval(inverted):
    same = found.over_networks(inverted, T, 0.5)
    assert same.before.error == pytest.approx(found.ahead(inverted, T, 0.5).before.error)
    other = a_look((0.9, 0.5, 0.6, 0.5, 0.1), (1.0, 0.9, 0.7, 0.2, 0.0), unrelated=(0.1, 0.0))
    differ = found.over_networks([inverted[0], other], T, 0.5)
    assert differ.before.value == pytest.approx(0.4)
    wide = np.hypot(1.96 * 0.1, found.ahead([inverted[0], other], T, 0.5).before.error)  # .3 and .5: a deviation of .1
    assert differ.before.error == pytest.approx(wide) and differ.after.error == pytest.approx(same.after.error)
    lo, hi = differ.before.interval.bounds
    assert hi - lo == pytest.approx(2 * wide)


def test_widths_of_falling_curves():
    t = np.linspace(0, 1, 11)
    assert found.fall_width(t, 5 - 3 * t) == pytest.approx(0.8)
    straight, late = 1 - t, np.clip(2 - 2 * t, 0, 1)
    cosine = torch.tensor(np.stack([straight, straight, late], 1))[None, :, None].expand(2, -1, 30, -1)
    kept = torch.arange(1, 41)[None, None] <= torch.tensor(40 * late)[None, :, None].round()
    fall = found.falls(cosine, kept, t, seed=1)
    assert fall.class_width.value == pytest.approx(0.4, abs=0.02) and fall.ratio.value == pytest.approx(0.5, abs=0.02)
    assert fall.steepest.value == pytest.approx(0.5) and fall.steepest.lo == pytest.approx(0.5)
    assert fall.class_width.lo < fall.class_width.value < fall.class_width.hi


def test_what_other_uturns_of_some_of_the_images_change(inverted):
    start = torch.arange(40, dtype=torch.uint8).reshape(40, 1, 1, 1).expand(-1, 1, 2, 2)
    some = torch.tensor([7, 3, 38])
    others = [
        Look([LayerSimilarity(LAYERS, a.cosine[some] + 0.1, ~a.kept[some]) for a in one.alike], one.unrelated)
        for one in inverted
    ]
    change = found.change(others, inverted, start[some], start)
    assert change.among.tolist() == [7, 3, 38] and change.cosine.shape == (5, 3, 2)
    torch.testing.assert_close(change.cosine, torch.full((5, 3, 2), 0.1, dtype=torch.float64))
    assert change.at_first == pytest.approx([0.1, 0.1]) and change.at_most == pytest.approx([0.1, 0.1])
    signs = torch.tensor([0.1, 0.2, -0.4])[:, None, None].expand(-1, 4, 2)
    assert change._replace(cosine=signs).at_most == pytest.approx([0.4, 0.4])
    assert change.kept[0].tolist() == [-1, -1, -1] and change.kept[2].tolist() == [-1, -1, 1]
    with pytest.raises(ValueError, match="1 of 3 that are not; take the U-turns of the same images"):
        found.change(others, inverted, start[some], start[:38])


def test_images_are_parted_by_class(inverted):
    parted = found.split(inverted[0])
    assert np.isfinite(parted.kept.value).all(1).tolist() == [True, True, True, True, False]  # 5 of 40 are too few
    assert np.isfinite(parted.changed.value).all(1).tolist() == [False, False, True, True, True]
    rows = inverted[0].alike[2].cosine
    np.testing.assert_allclose(parted.changed.value[2], rows[30:].mean(0))
    np.testing.assert_allclose(parted.kept.hi[2] - parted.kept.value[2], 1.96 * rows[:30].std(0) / 30**0.5)
    assert parted.nearest(T, 0.1) == 2 and parted.nearest(T, 0.9) == 3
    none = a_look((1.0,) * 5, (1.0,) * 5, kept=(40,) * 5)
    assert found.split(none).nearest(T, 0.5) is None


def test_an_untrained_twin_has_the_same_layers_and_other_weights():
    torch.set_num_threads(1)
    trained = probe.cnn_probe(ImageCNN(1, 5, width=4))
    state = torch.get_rng_state()
    one, again, other = (found.untrained(trained, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state), "torch's own generator stays as it was"
    assert one.layers == trained.layers and not one.trained
    x = torch.randint(256, (20, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(one(x)["logits"], again(x)["logits"]) and not torch.equal(one(x)["logits"], other(x)["logits"])
    turns = [UTurns(k, 0, x, end) for k, end in ((1, x), (2, x.flip(0)))]
    look = found.look(one, turns, x, generator=torch.Generator().manual_seed(0))
    cosines, unrelated = found.stack([look], found.ENDS)
    assert cosines.shape == (1, 2, 20, 2) and unrelated.shape == (1, 40, 2) and look.layers == one.layers
    torch.testing.assert_close(cosines[0, 0], torch.ones(20, 2, dtype=torch.float64))
    assert found.class_kept([look])[0, 0].all() and cosines[0, 1].mean() < 0.9


@pytest.mark.slow
def test_an_untrained_twin_of_a_network_of_torchvision():
    given = probe.torchvision_probe("resnet50", random_seed=3)
    twin = found.untrained(given, 3)
    weights = zip(given.network.parameters(), twin.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights) and twin.name == "resnet50, random weights"
