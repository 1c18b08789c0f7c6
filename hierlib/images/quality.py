"""How good samples are: FID and KID in a classifier's features, and a grid to look at."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from hierlib._finite import finite
from hierlib.images.models import DiffusionModel
from hierlib.images.probe import Probe
from hierlib.images.sampler import forward_backward


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """FID: squared Fréchet distance of the Gaussians with the means and covariances of two sets of features.

    ``|μ_a - μ_b|² + tr(Σ_a + Σ_b - 2 (Σ_a Σ_b)^½)`` (Heusel et al. 2017). Biased upward for small sets.

    Args:
        a, b: (n, units) features, n ≥ 2 each.

    Raises:
        ValueError: the shapes differ from these, or features or their distance are not finite.

    >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> round(frechet_distance(x, x + torch.tensor([3.0, 4.0, 0.0])), 4)
    25.0
    """
    a, b = _features(a, b)
    root = _root(a.T.cov())
    mixed = torch.linalg.eigvalsh(root @ b.T.cov() @ root).clamp_min(0).sqrt().sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + a.var(0).sum() + b.var(0).sum() - 2 * mixed
    return float(finite(distance, "distance", "scale the features down"))


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """KID: unbiased squared distance of two sets of features under the kernel (x·y / units + 1)³ (Bińkowski 2018).

    Args:
        a, b: (n, units) features, n ≥ 2 each. Two sets of one distribution give 0 on average, and may give less.

    Raises:
        ValueError: the shapes differ from these, or features or their distance are not finite.
    """
    a, b = _features(a, b)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:
        k = kernel(x, x)
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))

    return float(finite(within(a) + within(b) - 2 * kernel(a, b).mean(), "distance", "scale the features down"))


def hidden_distance(probe: Probe, made: Tensor, real: Tensor, batch: int = 50) -> float:
    """`kernel_distance` of two sets of images in the last layer but one of a classifier.

    Args:
        probe: `hierlib.images.probe.Probe`.
        made, real: uint8 images, 2 or more each.
        batch: images that the network sees at once.
    """
    at = probe.layers[-2]
    return kernel_distance(*(torch.cat([probe(part)[at].flatten(1) for part in x.split(batch)]) for x in (made, real)))


def judge(
    model: DiffusionModel, probe: Probe, images: Tensor, *, n: int, steps: int, seed: int = 0, show: bool = True
) -> tuple[Tensor, dict[str, float]]:
    """Draw samples and compare them with real images in the hidden layer of a classifier.

    Args:
        model: the diffusion model.
        probe: its last layer but one is compared, its last one names the classes.
        images: real images, uint8, at least 2 n: n are compared with the samples, n with each other as a yardstick.
        n: number of samples.
        steps: of the sampler.
        seed: of the samples.
        show: whether to show progress.

    Returns:
        The samples, and a dict of fid, kid, both also for real images against real ones, the entropy of the classes
        of the samples (nats) and their mean highest probability.

    Raises:
        ValueError: there are too few images; samples, features or logits are not finite.
    """
    if len(images) < 2 * n or n < 2:
        raise ValueError(f"images: expected at least {2 * max(n, 2)} for n = {n}, got {len(images)}")
    samples = forward_backward(model, images[:n], steps, steps=steps, seed=seed, show=show)
    sets = [samples, images[:n], images[n : 2 * n]]
    layer, logits = probe.layers[-2:]
    outs = [[probe(part) for part in x.split(256)] for x in sets]
    made, real, other = (torch.cat([out[layer].flatten(1) for out in parts]) for parts in outs)
    scores = finite(torch.cat([out[logits] for out in outs[0]]), f"logits of {probe.name}", "train it again")
    chance = scores.double().softmax(1)
    shares = chance.argmax(1).bincount(minlength=chance.shape[1]) / n
    record = dict(
        samples=n,
        steps=steps,
        seed=seed,
        fid=frechet_distance(made, real),
        fid_of_real_images=frechet_distance(other, real),
        kid=kernel_distance(made, real),
        kid_of_real_images=kernel_distance(other, real),
        entropy_of_classes=float(torch.special.entr(shares).sum()),
        mean_highest_probability=float(chance.max(1).values.mean()),
    )
    return samples, {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in record.items()}


def save_grid(path: Path, images: Tensor, columns: int = 16, scale: int = 1) -> None:
    """Write images side by side into one PNG, with a pixel of white between.

    Args:
        path: of the PNG.
        images: uint8 (n, 1 or 3, h, w).
        columns: images a row.
        scale: pixels a pixel.
    """
    n, channels, h, w = images.shape
    rows = -(-n // columns)
    sheet = torch.full((rows * columns, channels, h + 1, w + 1), 255, dtype=torch.uint8, device=images.device)
    sheet[:n, :, :h, :w] = images
    sheet = sheet.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (h, w, channels)
    picture = Image.fromarray(sheet.squeeze(-1).numpy())
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(path, optimize=True)


def _features(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"features: expected two sets (n ≥ 2, units), got {tuple(a.shape)} and {tuple(b.shape)}")
    x, y = (finite(each.double().cpu(), "features", "look at the network that made them") for each in (a, b))
    return x, y


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp_min(0).sqrt() @ vectors.T
