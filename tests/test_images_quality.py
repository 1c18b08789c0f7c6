"""How good samples are: the distances on known cases, and the grid."""

import pytest
import torch

from hierlib.images import classifier, quality
from hierlib.images.probe import cnn_probe
from tests.images import rng


def test_distances_of_gaussians():
    n = 20_000
    x, y = (torch.randn(n, 2, generator=rng(i), dtype=torch.float64) for i in range(2))
    scale, turn = torch.tensor([[2.0, 0], [0, 0.5]]).double(), torch.tensor([[1.0, 1], [-1, 1]]).double() / 2**0.5
    expected = 1 + (4 + 0.25) + 2 - 2 * (2 + 0.5)
    assert abs(quality.frechet_distance(x @ scale @ turn + torch.tensor([0.6, 0.8]), y) - expected) < 0.1
    assert abs(quality.frechet_distance(x, y)) < 0.01
    small_sets = [quality.kernel_distance(*torch.randn(2, 40, 3, generator=rng(i))) for i in range(200)]
    mean = torch.tensor(small_sets)
    assert abs(mean.mean()) < 4 * mean.std() / 200**0.5, "unbiased"
    assert quality.kernel_distance(x[:500], y[:500] + 1) > 1
    with pytest.raises(ValueError, match="features: expected two sets"):
        quality.frechet_distance(x, y[:, :1])


def test_grid(tmp_path):
    from PIL import Image

    images = torch.arange(3, dtype=torch.uint8)[:, None, None, None].expand(3, 1, 2, 2) * 50
    quality.save_grid(tmp_path / "x.png", images, columns=2)
    expected = [[0, 0, 255, 50, 50, 255]] * 2 + [[255] * 6] + [[100, 100, 255, 255, 255, 255]] * 2 + [[255] * 6]
    with Image.open(tmp_path / "x.png") as picture:
        assert [list(picture.crop((0, y, 6, y + 1)).tobytes()) for y in range(6)] == expected
    with pytest.raises(ValueError, match="expected at least 8 for n = 4, got 3"):
        quality.judge(None, cnn_probe(classifier.ImageCNN(1, 2)), images, n=4, steps=2)
