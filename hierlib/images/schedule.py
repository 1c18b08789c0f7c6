"""Noise schedules of diffusion models: every option of diffusers' DDPMScheduler, in double precision, or refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import hierlib._torchvision  # noqa: F401

if TYPE_CHECKING:
    from diffusers import DDPMScheduler

#: Of Ho et al. (2020) and of ADM.
LINEAR: dict[str, Any] = dict(
    num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=True
)

#: The options of DDPMScheduler that are understood, all of them, and what each is if nothing is said.
DEFAULTS: dict[str, Any] = dict(
    num_train_timesteps=1000,
    beta_start=0.0001,
    beta_end=0.02,
    beta_schedule="linear",
    trained_betas=None,
    variance_type="fixed_small",
    clip_sample=True,
    prediction_type="epsilon",
    thresholding=False,
    dynamic_thresholding_ratio=0.995,
    clip_sample_range=1.0,
    sample_max_value=1.0,
    timestep_spacing="leading",
    steps_offset=0,
    rescale_betas_zero_snr=False,
)
CHOICES = dict(
    beta_schedule=("linear", "scaled_linear", "squaredcos_cap_v2", "laplace", "sigmoid"),
    prediction_type=("epsilon", "sample", "v_prediction"),
    variance_type=("fixed_small", "fixed_small_log", "fixed_large", "learned_range"),
    timestep_spacing=("linspace", "leading", "trailing"),
)
WHY = {  # what is wrong with choices that diffusers documents
    "fixed_large_log": "diffusers takes the root of a logarithm below zero, which is nan: fixed_large is what is meant",
    "learned": "diffusers takes the network's output for the variance, which is nan where it is below zero",
}


def exact_scheduler(**options: Any) -> DDPMScheduler:
    """diffusers' DDPMScheduler with β, α and ᾱ in float64, as OpenAI's code has them (5e-7 a step instead of 1e-5).

    Args:
        options: of DDPMScheduler, see `DEFAULTS`.

    Raises:
        ValueError: an option is unknown, of a wrong type, or leads to numbers that are not finite.
    """
    from diffusers import DDPMScheduler

    given = check_options(options)
    betas = _betas(given)
    if not ((1 - betas < 1) & (betas < 1)).all():  # nan is no number between them either
        raise ValueError(
            f"{'trained_betas' if given['trained_betas'] is not None else 'beta_start, beta_end'}: expected the noise "
            f"β of every step above 0 and below 1, got {float(betas.min()):.3g} to {float(betas.max()):.3g}"
        )
    if given["rescale_betas_zero_snr"]:
        betas = _without_last_signal(betas)
        if given["prediction_type"] == "epsilon":
            raise ValueError(
                "rescale_betas_zero_snr: expected prediction_type v_prediction or sample with it, got epsilon; the "
                "noise of a state without signal does not tell what the image is"
            )
    with torch.device("cpu"):
        scheduler = DDPMScheduler(**options)
    scheduler.betas, scheduler.alphas = betas, 1 - betas
    scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    scheduler.one = torch.ones((), dtype=torch.float64, device="cpu")
    return scheduler


def check_options(options: Mapping) -> dict:
    """All options of a schedule, those that are not given by `DEFAULTS`.

    Raises:
        ValueError: one is none of DDPMScheduler, of a wrong type or out of range, or a choice that is not understood;
            it is named.
    """
    given = DEFAULTS | dict(options)
    for name, value in options.items():
        if name not in DEFAULTS:
            raise ValueError(f"{name}: expected an option of diffusers' DDPMScheduler, got {name} = {value!r}")
        if name in CHOICES:
            if value not in CHOICES[name]:
                why = f" ({WHY[value]})" if value in list(WHY) else ""
                raise ValueError(f"{name}: expected one of {', '.join(CHOICES[name])}, got {value!r}{why}")
        elif name == "trained_betas":
            many = isinstance(value, list | tuple) and len(value) == given["num_train_timesteps"]
            if value is not None and not (many and all(is_number(b, float) for b in value)):
                got = f"{len(value)} entries" if isinstance(value, list | tuple) else repr(value)
                raise ValueError(f"trained_betas: expected {given['num_train_timesteps']} numbers, got {got}")
        elif isinstance(DEFAULTS[name], bool):
            if not isinstance(value, bool):
                raise ValueError(f"{name}: expected true or false, got {value!r}")
        elif not is_number(value, type(DEFAULTS[name])):
            raise ValueError(f"{name}: expected a number as {DEFAULTS[name]}, got {value!r}")
        elif name in ("clip_sample_range", "sample_max_value") and value <= 0:
            raise ValueError(
                f"{name}: expected a number above 0, got {value!r}, which makes every predicted image the same; see "
                "how the model was trained"
            )
        elif name == "dynamic_thresholding_ratio" and not 0 <= value <= 1:
            raise ValueError(f"{name}: expected a share of the pixels, from 0 to 1, got {value!r}")
    if given["num_train_timesteps"] < 2:
        raise ValueError(f"num_train_timesteps: expected at least 2, got {given['num_train_timesteps']}")
    return given


def betas_of(alpha_bar: Callable[[float], float], n: int, largest: float = 0.999) -> Tensor:
    """β of each step from ᾱ as a function of time (Nichol and Dhariwal 2021).

    Args:
        alpha_bar: from time in [0, 1] to ᾱ in (0, 1], falling.
        n: number of steps.
        largest: what β is cut at.

    Returns:
        (n,) float64.
    """
    at = [alpha_bar(i / n) for i in range(n + 1)]
    return torch.tensor([min(1 - b / a, largest) for a, b in pairwise(at)], dtype=torch.float64, device="cpu")


def _betas(given: Mapping) -> Tensor:
    n, first, last, kind = (given[key] for key in ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule"))
    if given["trained_betas"] is not None:
        return torch.tensor(given["trained_betas"], dtype=torch.float64, device="cpu")
    if kind == "linear":
        return torch.linspace(first, last, n, dtype=torch.float64, device="cpu")
    if kind == "scaled_linear":
        first, last = (math.sqrt(max(end, 0)) for end in (first, last))
        return torch.linspace(first, last, n, dtype=torch.float64, device="cpu") ** 2
    if kind == "sigmoid":
        return torch.linspace(-6, 6, n, dtype=torch.float64, device="cpu").sigmoid() * (last - first) + first
    return betas_of(_cosine if kind == "squaredcos_cap_v2" else _laplace, n)


def _cosine(t: float) -> float:
    return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2


def _laplace(t: float) -> float:
    """As diffusers has it: the root of what the paper (Hang et al. 2024) calls ᾱ."""
    snr = math.exp(-0.5 * math.copysign(1, 0.5 - t) * math.log(1 - 2 * abs(0.5 - t) + 1e-6))
    return math.sqrt(snr / (1 + snr))


def _without_last_signal(betas: Tensor) -> Tensor:
    """√ᾱ shifted so that the last is 0, and scaled so that the first stays (Lin et al. 2024, algorithm 1)."""
    root = (1 - betas).cumprod(0).sqrt()
    bar = ((root - root[-1]) * (root[0] / (root[0] - root[-1]))).square()
    return 1 - torch.cat([bar[:1], bar[1:] / bar[:-1]])


def is_number(value: object, kind: type) -> bool:
    """Whether a value of a json is a finite number: a whole one for int, any for float."""
    return (
        isinstance(value, int | float)
        and isinstance(value, kind | int)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )
