"""Control without a hierarchy: two Gaussian clouds, exactly denoised; their class is lost at once, nothing inverts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hierlib._finite import Watch
from hierlib.images.inversion import Inversion, inversion
from hierlib.images.models import DiffusionModel
from hierlib.images.sampler import denoised, noised
from hierlib.images.sampler import generator as rng_of
from hierlib.images.schedule import LINEAR, exact_scheduler
from hierlib.networks.classifier import linear_maps
from hierlib.networks.probe import Activations, moments, similarity


class ExactDenoiser(nn.Module):
    """The posterior mean of the noise for data x₀ ~ ½ N(μ, σ²) + ½ N(-μ, σ²), called as a diffusers network is.

    E[x₀ | x] = Σ± p(± | x) (±μ + √ᾱ σ² / s² (x ∓ √ᾱ μ)) with s² = ᾱ σ² + 1 - ᾱ and p(+ | x) = sigmoid(2 √ᾱ μ·x / s²).

    Args:
        mode: (d,) μ.
        sigma: σ.
        alphas_cumprod: ᾱ of each training step.
    """

    alphas_cumprod: Tensor

    def __init__(self, mode: Tensor, sigma: float, alphas_cumprod: Tensor):
        super().__init__()
        self.mode, self.sigma = nn.Parameter(mode, requires_grad=False), sigma
        self.register_buffer("alphas_cumprod", alphas_cumprod)

    def forward(self, x: Tensor, t: Tensor, return_dict: bool = False) -> tuple[Tensor]:
        """Noise of states, called as diffusers' networks are.

        Args:
            x: (n, …), d numbers each.
            t: (n,) training steps, all equal.
            return_dict: not looked at; what comes back is a tuple.

        Returns:
            The noise, of the shape and type of x.
        """
        a = self.alphas_cumprod[t[0]]
        flat, spread = x.flatten(1), a * self.sigma**2 + 1 - a
        sign = torch.tanh(a.sqrt() * (flat @ self.mode) / spread)[:, None]  # E[± | x]
        clean = sign * self.mode + a.sqrt() * self.sigma**2 / spread * (flat - a.sqrt() * sign * self.mode)
        return (((flat - a.sqrt() * clean) / (1 - a).sqrt()).to(x.dtype).reshape(x.shape),)


def clouds(d: int, separation: float, *, generator: torch.Generator) -> DiffusionModel:
    """The exact diffusion model of two Gaussian clouds in d dimensions, ±μ with μ of that length and σ = 1.

    Its states have the shape (n, 1, 1, d); they are no images, and nothing is clipped.

    Args:
        d: dimensions.
        separation: length of μ, in units of σ.
        generator: draws the direction of μ.
    """
    mode = torch.randn(d, dtype=torch.float32, generator=generator, device=generator.device)
    scheduler = exact_scheduler(
        **LINEAR | dict(clip_sample=False), timestep_spacing="linspace", variance_type="fixed_small"
    )
    network = ExactDenoiser(separation * mode / mode.norm(), 1.0, scheduler.alphas_cumprod)
    return DiffusionModel(network, scheduler, 1, d, name=f"two clouds in {d} dimensions")


def _mode(model: DiffusionModel) -> Tensor:
    """μ, (d,)."""
    if not isinstance(model.network, ExactDenoiser):
        raise ValueError(f"model: expected that of two clouds, from `clouds`, got {model.name}")
    return model.network.mode


def draw(model: DiffusionModel, n: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Data of the two clouds.

    Args:
        model: from `clouds`.
        n: number of data.
        generator: source of randomness.

    Returns:
        (n, 1, 1, d), and (n,) the cloud of each, 0 or 1.
    """
    labels = torch.randint(2, (n,), generator=generator, device=generator.device)
    mode = _mode(model)
    x = (
        torch.randn(n, len(mode), dtype=torch.float32, generator=generator, device=generator.device)
        + (2 * labels[:, None] - 1) * mode
    )
    return x[:, None, None], labels


def train_mlp(
    model: DiffusionModel, *, width: int = 64, depth: int = 3, steps: int = 500, generator: torch.Generator
) -> nn.Sequential:
    """A perceptron that tells the clouds apart, trained on fresh data at every step.

    Args:
        model: from `clouds`.
        width: units a layer.
        depth: hidden layers.
        steps: of Adam, 128 data each.
        generator: source of weights and data.

    Raises:
        ValueError: the loss is not finite.
    """
    watch = Watch("training of the perceptron", "lower the separation of the clouds")
    sizes = [len(_mode(model))] + [width] * depth
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b, device="cpu"), nn.ReLU())]
    net = nn.Sequential(*layers, nn.Linear(width, 2, device="cpu"))
    with torch.no_grad():
        for layer in linear_maps(net):
            layer.weight.normal_(0, (2 / layer.in_features) ** 0.5, generator=generator)
            layer.bias.zero_()
    optimizer = torch.optim.Adam(net.float().parameters(), lr=1e-3)
    for step in range(steps):
        x, y = draw(model, 128, generator=generator)
        loss = nn.functional.cross_entropy(net(x.flatten(1)), y)
        watch(step, loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    watch.close()
    return net.requires_grad_(False)


def cloud_uturns(
    model: DiffusionModel, nets: list[nn.Sequential], k: list[int], *, n: int, steps: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """U-turns of n data, seen by the first layer and the logits of perceptrons.

    Args:
        model: from `clouds`.
        nets: from `train_mlp`.
        k: (K,) inversion times in steps of the respaced grid.
        n: number of data.
        steps: of the respaced grid.
        generator: source of randomness.

    Returns:
        cosine (networks, K, n, 2) and baseline (networks, 2000, 2), for `hierlib.images.inversion.inversion`; and the
        fraction (K,) that kept its cloud.
    """
    x, labels = draw(model, n, generator=generator)
    data = draw(model, 2000, generator=generator)[0]
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    ends = []
    for j in k:
        rngs = [rng_of("cpu", seed, j, i) for i in range(n)]
        state = noised(model, x, j, steps=steps, matched=False, rngs=rngs)
        ends.append(denoised(model, state, j, steps=steps, rngs=rngs))
    kept = torch.stack([((y.flatten(1) @ _mode(model) > 0) == labels.bool()).double().mean() for y in ends])
    cosine, baseline = [], []
    for net in nets:
        look = _activations(net)
        statistics = moments(look, data.split(500))
        start = look(x)
        rows = [_columns(similarity(start, look(y), statistics).cosine) for y in ends]
        cosine.append(torch.stack(rows))
        baseline.append(_columns(similarity(look(data), look(data.roll(1, 0)), statistics).cosine))
    return torch.stack(cosine), torch.stack(baseline), kept


class Control(NamedTuple):
    """What U-turns of two clouds say of the question that is asked of images."""

    t: NDArray[np.float64]  #: (K,) inversion times, t/T
    order: Inversion  #: of the first layer and the logits
    kept: Tensor  #: (K,) fraction that kept its cloud


def control(
    separation: float,
    k: Sequence[int],
    *,
    d: int = 1024,
    networks: int = 3,
    training: int = 200,
    n: int = 200,
    steps: int = 50,
    generator: torch.Generator,
) -> Control:
    """Two clouds, perceptrons that tell them apart, and U-turns that these look at.

    Args:
        separation, d: as for `clouds`.
        k, n, steps: as for `cloud_uturns`.
        networks: number of perceptrons, two or more, seeded by 0, 1, …
        training: steps of each, as for `train_mlp`.
        generator: of the clouds and the U-turns.

    Raises:
        ValueError: there are fewer than two networks, or as `train_mlp`.
    """
    model = clouds(d, separation, generator=generator)
    seeded = [torch.Generator(generator.device).manual_seed(i) for i in range(networks)]
    nets = [train_mlp(model, steps=training, generator=each) for each in seeded]
    cosine, baseline, kept = cloud_uturns(model, nets, list(k), n=n, steps=steps, generator=generator)
    return Control(np.array(k) / steps, inversion(cosine, baseline), kept)


def _activations(net: nn.Sequential) -> Callable[[Tensor], Activations]:
    return lambda x: {"first": net[:2](x.flatten(1))[:, :, None], "logits": net(x.flatten(1))}


def _columns(cosine: dict[str, Tensor]) -> Tensor:
    return torch.stack([cosine["first"], cosine["logits"]], 1)
