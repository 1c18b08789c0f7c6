"""What layers make of U-turns of pictures: sizes, seeds, refusals, and what has to come out."""

import math

import numpy as np
import pytest
import torch

from hierlib.images import picture_layers as layers
from hierlib.images.picture_classifier import PictureCNN, PictureData, probe_of
from hierlib.images.pictures import draw
from tests.images import rng

DATA = PictureData(v=4, m=2, L=2, p=4)
R = (3.0, 0.1, 0.001)


@pytest.fixture(scope="module")
def probe():
    torch.manual_seed(0)
    return probe_of(PictureCNN(DATA.side, DATA.v, 4), "small")


@pytest.fixture(scope="module")
def seen(probe):
    return layers.see(probe, DATA, R, n=24, generator=rng(1))


def test_less_noise_keeps_more_at_every_level(seen):
    assert seen.kept.shape == (3, 3)
    assert (seen.kept[0] > 0.99).all() and (seen.kept[-1] < 0.7).all()


def test_every_denoiser_is_looked_at_by_every_layer(seen, probe):
    found = layers.likeness([*seen.known, seen.untrained, seen.shuffled])
    assert found.shape == (5, 3, len(probe.layers))
    assert (found[:, 0] > 0.95).all(), "next to no noise: the pictures are the same"
    assert (found[:, -1, 0] < 0.5).all()
    difference = layers.first_minus_last(seen.known)
    np.testing.assert_allclose(difference, found[:3, :, 0] - found[:3, :, -1])


def test_the_same_seed_gives_the_same(seen, probe):
    again = layers.see(probe, DATA, R, n=24, generator=rng(1))
    other = layers.see(probe, DATA, R, n=24, generator=rng(2))
    assert torch.equal(again.kept, seen.kept) and not torch.equal(other.kept, seen.kept)
    for a, b in zip([*again.known, again.untrained, again.shuffled], [*seen.known, seen.untrained, seen.shuffled]):
        assert all(torch.equal(x.cosine, y.cosine) for x, y in zip(a.alike, b.alike, strict=True))


def test_less_knowledge_never_keeps_more_of_the_leaves():
    """Of a way back that knows all levels, whole pictures are legal, and of one that knows none they are not."""
    from hierlib.images.pictures import read, uturn
    from hierlib.probability import log_probability

    g = DATA.g
    x = layers.sample(g, 50, generator=rng(3))
    start = draw(DATA.alphabet, x[0])
    ends = [uturn(g, DATA.alphabet, start, layers.time_of(0.1), levels=k, generator=rng(4)).end for k in (0, 2)]
    legal = [log_probability(g, read(DATA.alphabet, end)).isfinite().double().mean() for end in ends]
    assert legal[0] < 0.7 and legal[1] == 1


def test_refusals(probe):
    with pytest.raises(ValueError, match="falling"):
        layers.see(probe, DATA, (0.1, 0.2), n=4, generator=rng(0))
    with pytest.raises(ValueError, match="n: "):
        layers.see(probe, DATA, R, n=1, generator=rng(0))
    with pytest.raises(ValueError, match="32 pixels"):
        layers.see(probe, PictureData(), R, n=4, generator=rng(0))
    for r in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="positive"):
            layers.time_of(r)


def test_shuffled_pictures_have_the_tiles_at_other_places():
    pictures = draw(DATA.alphabet, layers.sample(DATA.g, 3, generator=rng(0))[0])
    assert torch.equal(layers.shuffled(pictures, torch.arange(16).expand(3, -1), DATA), pictures)
    turned = layers.shuffled(pictures, torch.arange(15, -1, -1).expand(3, -1), DATA)
    assert torch.equal(turned[:, :, :4, :4], pictures[:, :, -4:, -4:])


def test_an_untrained_network_has_seen_pictures(probe):
    blank = layers.untrained(probe, DATA, generator=rng(0))
    logits = blank(draw(DATA.alphabet, layers.sample(DATA.g, 60, generator=rng(1))[0]))["logits"]
    assert not blank.trained and logits.std(0).mean() > 0.02


def test_a_sheet_marks_the_tiles_that_changed():
    found = layers.sheet(DATA, R, [0, 3], generator=rng(0))
    assert found.pictures.shape == (4, 2, 16, 16, 3) and found.noisy.shape == (3, 16, 16, 3)
    assert found.classes[0].tolist() == [0, 3] and not found.changed[0].any() and found.changed[-1].any()
    same = (found.pictures == found.pictures[:1]).all(-1)
    assert same[~found.changed].all() and not same[found.changed].all()


def test_the_share_that_is_needed_makes_the_mean_vanish():
    without, whole = np.array([0.2, 0.1]), np.array([-0.1, -0.3])
    q = layers.share_needed(without, whole)
    np.testing.assert_allclose(q * whole + (1 - q) * without, 0, atol=1e-12)
