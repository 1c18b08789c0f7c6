"""Patches of a sample that are found again in its start."""

import pytest
import torch

from hierlib.images import patches
from hierlib.images.classifier import ImageCNN
from hierlib.images.probe import cnn_probe, statistics

LAYER = "convolution 1"


@pytest.fixture(scope="module")
def probe():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return cnn_probe(ImageCNN(1, 3, width=4, depth=1, stages=1).requires_grad_(False))


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 256, (12, 1, 16, 16), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def test_what_is_there_is_found_wherever_it_has_gone(probe, images):
    moment = statistics(probe, images)[LAYER]
    moved = images.roll((3, 5), (2, 3))
    same, shifted = (patches.patch_match(probe, LAYER, images, end, moment) for end in (images, moved))
    assert same.shape == (12, 4, 4)
    torch.testing.assert_close(same, torch.ones_like(same), rtol=0, atol=1e-5)
    inner = shifted[:, 1:3, 2:3]  # windows that came from inside, with all their neighbours
    torch.testing.assert_close(inner, torch.ones_like(inner), rtol=0, atol=1e-5)
    assert patches.patch_match(probe, LAYER, images, images.roll(1, 0), moment).max() < 0.999


def test_it_is_its_literal_definition(probe, images):
    moment = statistics(probe, images)[LAYER]
    a, b = images[:2], images[2:4]
    found = patches.patch_match(probe, LAYER, a, b, moment, window=8)
    x, y = (
        (probe(z)[LAYER].double() - moment.mean[:, None, None]) / moment.scale(False)[:, None, None] for z in (a, b)
    )
    for n, i, j in ((0, 0, 1), (1, 1, 0)):
        new = y[n, :, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8].flatten()
        cosines = [
            torch.cosine_similarity(new, x[n, :, r : r + 8, c : c + 8].flatten(), dim=0)
            for r in range(9)
            for c in range(9)
        ]
        assert float(found[n, i, j]) == pytest.approx(float(max(cosines)), abs=1e-5)


def test_empty_patches_do_not_count():
    x = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    x[0, 0, 1, 6], x[0, 0, 7, 0] = 26, 25
    assert patches.inked(x, (2, 2)).tolist() == [[[False, True], [False, False]]]
    x[:] = 200
    assert not patches.inked(x, (2, 2)).any()
    match = torch.tensor([[[0.5, 0.25]]], dtype=torch.float64)
    assert patches.mean_match(match, torch.tensor([[[True, False]]])).item() == 0.5
    assert patches.mean_match(match, torch.zeros(1, 1, 2, dtype=torch.bool)).isnan().all()


def test_partners_are_others_of_the_same_class():
    labels = torch.tensor([0, 1, 0, 1, 1, 0, 2, 2])
    partner = patches.another_of_its_class(labels, generator=torch.Generator().manual_seed(0))
    assert (partner != torch.arange(8)).all() and torch.equal(labels[partner], labels)
    assert sorted(partner.tolist()) == list(range(8))
    with pytest.raises(ValueError, match="class 5, got one"):
        patches.another_of_its_class(torch.tensor([0, 0, 5]), generator=torch.Generator())


def test_bad_input(probe, images):
    moments = statistics(probe, images)
    with pytest.raises(ValueError, match="as start, got"):
        patches.patch_match(probe, LAYER, images[:2], images[:3], moments[LAYER])
    with pytest.raises(ValueError, match="maps of at least 17"):
        patches.patch_match(probe, LAYER, images, images, moments[LAYER], window=17)
    with pytest.raises(ValueError, match="layer logits: expected maps"):
        patches.patch_match(probe, "logits", images, images, moments["logits"])


def test_parts_are_looked_at_no_further_than_they_are_asked_for(monkeypatch):
    """Matches with both starts are those of `patch_match`, and no layer after the one that is asked for is computed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = ImageCNN(1, 3, width=4, depth=2, stages=2).requires_grad_(False)
    probe, layer, labels = cnn_probe(network), "convolution 2", torch.arange(20) % 2
    start, ends = (torch.randint(0, 256, (*n, 20, 1, 16, 16), dtype=torch.uint8) for n in ((), (3,)))
    moment = statistics(probe, start)[layer]
    partner = patches.another_of_its_class(labels, generator=torch.Generator().manual_seed(2))
    expected = [patches.patch_match(probe, layer, x, ends, moment) for x in (start, start[partner])]
    convolve, computed = torch.nn.Conv2d.forward, []
    monkeypatch.setattr(torch.nn.Conv2d, "forward", lambda conv, x: computed.append(conv) or convolve(conv, x))
    found = patches.parts(probe, layer, start, ends, labels, generator=torch.Generator().manual_seed(2))
    assert torch.equal(found.own_patches, expected[0]) and torch.equal(found.other_patches, expected[1])
    assert {id(conv) for conv in computed} == {id(block[0]) for block in network.blocks[:2]}
    with pytest.raises(ValueError, match=r"layer: expected one of convolution 1, .*, logits, got 'convolution 9'"):
        patches.patch_match(probe, "convolution 9", start, start, moment)
