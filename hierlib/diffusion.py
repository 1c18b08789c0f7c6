"""The reverse diffusion step by step, with belief propagation as the denoiser (sections 2.1 and 4)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

import hierlib._torchvision  # noqa: F401  (before diffusers, which imports torchvision)
from hierlib._denoiser import Denoiser, said_by
from hierlib._finite import Watch
from hierlib._kernels.precision import computed_in
from hierlib.embedding import nearest
from hierlib.grammar import Grammar
from hierlib.inference import infer
from hierlib.noise import GaussianNoise, MaskNoise, check_type

from diffusers import DDPMScheduler  # isort: skip


def ddpm(num_steps: int = 1000) -> DDPMScheduler:
    """The schedule of Ho et al. (2020), β from 1e-4 to .02, for a denoiser that predicts x_0 and is exact."""
    with torch.device("cpu"):  # wherever torch would put what says no device
        return DDPMScheduler(num_steps, beta_start=1e-4, beta_end=0.02, prediction_type="sample", clip_sample=False)


def ddpm_noise(
    v: int, scheduler: DDPMScheduler, dtype: torch.dtype = torch.float32, embedding: Tensor | None = None
) -> GaussianNoise:
    """`GaussianNoise` with the scheduler's ᾱ_k; its time is the step k = 0, 1, …, num_steps-1."""
    signal = lambda k: scheduler.alphas_cumprod.double().to(k.device)[k.long()]  # noqa: E731
    return GaussianNoise(v, signal, dtype, embedding)


def reverse_diffusion(
    g: Grammar,
    x_k: Tensor,
    k: int,
    *,
    generator: torch.Generator,
    scheduler: DDPMScheduler | None = None,
    embedding: Tensor | None = None,
) -> Tensor:
    """Run the reverse process of eq. (3) from step k to 0, the mean of x_0 given x_t computed exactly.

    Args:
        g: the grammar.
        x_k: (n, d, v), the noisy leaves at step k, as from ``ddpm_noise(g.v, scheduler).corrupt(x0, k, …)``. All steps
            are taken in its floating type, or float32 if that is half, in which early steps would add no noise.
        k: the step it starts from, 1 ≤ k < number of steps.
        generator: source of randomness.
        scheduler: a `diffusers.DDPMScheduler` with prediction_type="sample", no clipping and a variance that is not
            learned; `ddpm()` if not given.
        embedding: (v, p), with x_k of shape (n, d, p): what is diffused, as by `GaussianNoise`; one-hot if none.

    Returns:
        (n, d) int64, the leaves that it ends in, of each the symbol whose point is nearest.

    Raises:
        ValueError: k or the scheduler is not of this kind.
    """
    return reverse_process(
        lambda evidence: infer(g, evidence, messages=False).marginals[0],
        x_k,
        k,
        generator=generator,
        scheduler=scheduler,
        embedding=embedding,
    )


def reverse_process(
    denoise: Denoiser,
    x_k: Tensor,
    k: int,
    *,
    generator: torch.Generator,
    scheduler: DDPMScheduler | None = None,
    embedding: Tensor | None = None,
) -> Tensor:
    """Run the reverse process of eq. (3) from step k to 0 with any denoiser, exact or learnt.

    Args:
        denoise: from evidence of the leaves, (n, d, v), to their marginals, which make the mean of x_0.
        x_k: (n, d, v), or (n, d, p) with an embedding, the noisy leaves at step k.
        k: the step it starts from, 1 ≤ k < number of steps.
        generator: source of randomness.
        scheduler: as for `reverse_diffusion`; after its `set_timesteps` the way back takes those steps only.
        embedding: as for `reverse_diffusion`.

    Returns:
        (n, d) int64, of each leaf the symbol whose point is nearest, which one-hot is that with the largest component.

    Raises:
        ValueError: k or the scheduler is not of this kind; the denoiser's mean is of another shape; it or the state is
            not finite, and the step is named.
    """
    check_type("x_k", x_k.dtype)
    scheduler = ddpm() if scheduler is None else scheduler
    config = scheduler.config
    learned = config.variance_type.startswith("learned")  # which nothing here predicts
    if config.prediction_type != "sample" or config.clip_sample or config.thresholding or learned:
        raise ValueError(
            "scheduler: expected prediction_type='sample', clip_sample=False, thresholding=False and a fixed "
            f"variance_type, got {config.prediction_type!r}, {config.clip_sample}, {config.thresholding} and "
            f"{config.variance_type!r}; make it with hierlib.diffusion.ddpm"
        )
    if not 1 <= k < config.num_train_timesteps:
        raise ValueError(f"k: expected a step in 1…{config.num_train_timesteps - 1}, got {k}")
    steps = [int(step) for step in scheduler.timesteps if step <= k]
    if steps[0] != k:
        raise ValueError(f"k: expected one of the scheduler's steps, the next is {steps[0]}, got {k}")
    v = x_k.shape[-1] if embedding is None else len(embedding)
    noise = ddpm_noise(v, scheduler, computed_in(x_k.dtype), embedding)
    points = None if noise.embedding is None else noise.embedding.to(x_k.device)
    watch = Watch(f"way back from step {k}", "look at the denoiser and the scheduler, or use float64", patience=1)
    x = x_k.to(noise.dtype)
    for step in steps:
        mean = said_by(denoise, noise.evidence(x, step))
        mean = mean if points is None else mean @ points.to(mean.dtype)
        x = scheduler.step(mean, step, x, generator=generator).prev_sample
        watch(step, mean, x)
    return x.argmax(-1) if points is None else nearest(points, x)


class Revealed(NamedTuple):
    """ln p(masked leaves | seen ones), two ways; the same by the chain rule."""

    by_steps: float  #: one leaf after the other, each from its marginal given all that is seen by then
    at_once: float  #: from the evidence of the whole datum and that of the seen leaves


def reveal(g: Grammar, x0: Tensor, x_t: Tensor) -> Revealed:
    """The reverse process of masks, which reveals one symbol at a time, along the way that ends in a given datum.

    Args:
        g: the grammar.
        x0: (1, d) the leaves of a datum of it.
        x_t: (1, d) the same with some leaves masked, as from `MaskNoise.corrupt`. The last of them is revealed first.

    Returns:
        `Revealed`, in float64.

    Raises:
        ValueError: x_t is not one datum x0 with masks.
    """
    if x0.shape != (1, g.d) or x_t.shape != x0.shape or not ((x_t == x0) | (x_t == g.v)).all():
        raise ValueError(
            f"x_t: expected one datum, (1, {g.d}), whose leaves are those of x0 or the mask, {g.v}, got {x_t.tolist()} "
            f"for {x0.tolist()}; make it with hierlib.MaskNoise.corrupt"
        )
    noise, seen, by_steps = MaskNoise(v=g.v, dtype=torch.float64), x_t, 0.0
    masked = (x_t[0] == g.v).nonzero()[:, 0].tolist()
    for i in reversed(masked):
        belief = infer(g, noise.evidence(seen)).marginals[0]
        by_steps += float(belief[0, i, x0[0, i]].log())
        seen = seen.index_fill(1, torch.tensor([i], device=seen.device), int(x0[0, i]))
    whole, part = (float(infer(g, noise.evidence(x)).log_evidence[0]) for x in (x0, x_t))
    return Revealed(by_steps, whole - part - len(masked) * math.log(g.v))  # a mask's evidence is 1/v
