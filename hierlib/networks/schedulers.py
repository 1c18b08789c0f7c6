"""Samplers of diffusers audited with a perfect denoiser: whatever is wrong with their strings is the sampler's doing.

A scheduler turns what a denoiser says into the next state. Here exact inference is the denoiser, so that the law of the
final strings can be held against the data. Each scheduler runs in the loop of its own pipeline, with its own defaults.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hierlib import _provenance
from hierlib._denoiser import Denoiser, said_by
from hierlib._finite import finite
from hierlib._weights import refuse_uneven
from hierlib.enumeration import data_per_class
from hierlib.experiments.curves import Interval, plus_minus
from hierlib.grammar import Grammar, check_generator, parse, whole
from hierlib.networks.generation import exact_denoiser, legal_nodes
from hierlib.networks.haste import Law, law_from_runs
from hierlib.noise import GaussianNoise, MaskNoise, UniformNoise

Own = Callable[[Denoiser, int, int, torch.Generator], Tensor]  # (denoise, n, steps, generator) -> (n, d) strings
ENOUGH = 20  # runs a datum, from which on a law is estimated


class Audit(NamedTuple):
    """What a sampler makes of a perfect denoiser."""

    strings: Tensor  #: (n, d) int64, what it wrote
    calls: int  #: how often it asked the denoiser
    levels: Tensor  #: (L+1,) fraction of the nodes of a level that are legal down to their leaves
    errors: Tensor  #: (L+1,) their standard errors over strings
    classes: Tensor  #: (num_classes,) int64, how many of the legal strings are of each class
    law: Law | None  #: divergence of the data from the strings; None with fewer than 20 strings a datum
    versions: Mapping[str, str]  #: of Python, torch, diffusers …

    @property
    def nats(self) -> Interval[float]:
        """Divergence of all data from the strings with its 95 % interval; a lower bound if data never came.

        Raises:
            ValueError: there are too few strings for it.
        """
        if self.law is None:
            raise ValueError(f"n: expected {ENOUGH} strings or more for each datum, got {len(self.strings)}")
        return plus_minus(self.law.least, self.law.error)

    @property
    def legal(self) -> Interval[float]:
        """Fraction of the strings that are legal, with Wilson's 95 % interval."""
        p, n, z = float(self.levels[-1]), len(self.strings), 1.96
        middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
        return Interval(p, (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)).within(0, 1)

    @property
    def balance(self) -> float:
        """χ² of the classes over its degrees of freedom, about 1 if all are equally probable, as in the data."""
        expected = self.classes.sum() / len(self.classes)
        return float(((self.classes - expected) ** 2 / expected.clamp_min(1)).sum() / max(len(self.classes) - 1, 1))


def audit(
    scheduler: object,
    g: Grammar,
    *,
    steps: int,
    n: int,
    generator: torch.Generator,
    settings: Mapping[str, object] | None = None,
    floor: float = 1e-9,
) -> Audit:
    """Hold the strings of a sampler against the data of a grammar, with exact inference as its denoiser.

    Continuous schedulers diffuse one-hot leaves, and the symbol with the largest component is read at the end. They get
    the posterior mean of x_0 as the prediction that their configuration names. Discrete ones get the logarithms of the
    posterior marginals; the denoiser knows which leaves are masked, kept, or how noisy they are.

    Args:
        scheduler: of diffusers, set up as it is to be used, and not changed: Amused, BlockRefinement, DiscreteDDIM,
            EntropyBound, VQDiffusion; DDPM, DDIM, DPMSolverMultistep, UniPCMultistep; EulerDiscrete,
            EulerAncestralDiscrete, HeunDiscrete; EDMEuler, EDMDPMSolverMultistep, and what derives from these. Or a
            sampler of one's own, a function (denoise, n, steps, generator) → (n, d) strings; denoise takes evidence
            (n, d, v) to leaf marginals.
        g: the grammar, on the CPU. With at most n/20 data, the divergence of all data from the strings is estimated.
        steps: its `num_inference_steps`, at least 1.
        n: number of strings, at least 1.
        generator: source of randomness, on the CPU.
        settings: further arguments of its `set_timesteps` and `step`, each goes where it is taken, as
            ``{"temperature": 1}``.
        floor: the probability, above 0, with which a leaf is said to be misprinted: so contradictions have an answer.

    Returns:
        `Audit`. Its law is right within two standard errors for an exact sampler only.

    Raises:
        ValueError: there is no loop for this scheduler, it is set up for another alphabet, a setting is taken by
            neither function, a number is out of range, or the strings of one's own sampler are none.
    """
    refuse_uneven(g, "audit", "draw with hierlib.networks.schedulers.run and look at hierlib.log_probability")
    strings, calls = run(
        scheduler,
        exact_denoiser(g),
        whole("n", n, 1),
        steps=steps,
        d=g.d,
        v=g.v,
        generator=generator,
        settings=settings,
        floor=floor,
    )
    nodes = [level.double().mean(1) for level in legal_nodes(g, strings)]
    legal = strings[nodes[-1] == 1]
    spread = [level.std() if n > 1 else level.new_zeros(()) for level in nodes]
    enough = ENOUGH * g.num_classes * data_per_class(g.m, g.s, g.L) <= n
    return Audit(
        strings,
        calls,
        torch.stack([level.mean() for level in nodes]),
        torch.stack(spread) / n**0.5,
        torch.bincount(parse(g, legal)[-1][:, 0], minlength=g.num_classes),
        law_from_runs(g, strings) if enough else None,
        _provenance.versions(),
    )


def ratio(a: Audit, b: Audit) -> Interval[float]:
    """The divergence of one sampler's strings over that of another's, which is not about zero; to first order."""
    (over, error), (under, other) = ((one.nats.value, (one.nats.hi - one.nats.lo) / 3.92) for one in (a, b))
    return plus_minus(over / under, math.hypot(error, over / under * other) / abs(under))


class Run(NamedTuple):
    """What came of a sampler."""

    strings: Tensor  #: (n, d) int64
    calls: int  #: of the denoiser


def run(
    scheduler: object,
    denoise: Denoiser,
    n: int,
    *,
    steps: int,
    d: int,
    v: int,
    generator: torch.Generator,
    settings: Mapping[str, object] | None = None,
    floor: float = 1e-9,
) -> Run:
    """Strings of d leaves by a scheduler and any denoiser, in the loop of the scheduler's documentation.

    Args:
        scheduler, n, steps, generator, settings, floor: as for `audit`.
        denoise: from float64 evidence, (n, d, v), to leaf marginals.
        d, v: numbers of leaves and of symbols.

    Raises:
        ValueError: as for `audit`.
    """
    check_generator(generator)
    if not 0 < floor <= 1:
        raise ValueError(f"floor: expected a probability above 0, so that contradictions have an answer, got {floor}")
    calls = 0

    def told(evidence: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        said = said_by(denoise, evidence * (1 - floor) + floor / v)
        finite(said.sum(2), "the denoiser's belief", "look at its weights")
        return said

    steps = whole("steps", steps, 1)
    loop = _loop(scheduler)
    if loop is None:
        x = scheduler(told, n, steps, generator) if callable(scheduler) else None
        if not isinstance(x, Tensor) or x.shape != (n, d) or x.is_floating_point():
            got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else repr(x)
            raise ValueError(f"scheduler: expected one's own sampler to return ({n}, {d}) symbols, got {got}")
        return Run(x.long(), calls)
    own = _Driven(copy.deepcopy(scheduler), dict(settings or {}), generator, steps, (n, d, v))
    x = loop(own, told)
    return Run(x, calls)


class _Driven:
    """A scheduler with its settings: what its loop calls."""

    def __init__(
        self,
        scheduler: Any,
        settings: dict[str, object],
        generator: torch.Generator,
        steps: int,
        sizes: tuple[int, int, int],
    ) -> None:
        self.scheduler, self.config, self.generator, self.steps = scheduler, scheduler.config, generator, steps
        self.n, self.d, self.v = sizes
        both = {"set_timesteps": scheduler.set_timesteps, "step": scheduler.step}
        where = {name: set(inspect.signature(how).parameters) for name, how in both.items()}
        taken = set.union(*where.values()) - {"model_output", "timestep", "sample", "generator", "return_dict"}
        if strange := settings.keys() - (taken - {"num_inference_steps", "device", "self"}):
            raise ValueError(
                f"settings: expected arguments of set_timesteps or step of {type(scheduler).__name__}, "
                f"{', '.join(sorted(taken))}, got {', '.join(sorted(strange))}; others belong into the scheduler itself"
            )
        self.settings = settings
        mine = {name: value for name, value in settings.items() if name in where["set_timesteps"]}
        if "block_length" in where["set_timesteps"]:
            mine.setdefault("block_length", self.d)
        self.set_timesteps = partial(scheduler.set_timesteps, **mine)
        mine = {name: value for name, value in settings.items() if name in where["step"]}
        if "generator" in where["step"]:
            mine["generator"] = generator
        self._step = partial(scheduler.step, **mine)

    def step(self, said: Tensor, t: object, x: Tensor) -> Any:
        """What the scheduler makes of a prediction."""
        return self._step(said, t, x)

    def wants(self, name: str, value: int, why: str) -> None:
        """Raise a ValueError unless the scheduler is set up with this number."""
        if getattr(self.config, name) != value:
            raise ValueError(f"scheduler: expected {name}={value}, {why}, got {getattr(self.config, name)}")

    def symbols(self) -> Tensor:
        """(n, d) uniform symbols."""
        return torch.randint(self.v, (self.n, self.d), generator=self.generator, device="cpu")


def _amused(own: _Driven, denoise: Denoiser) -> Tensor:
    """All leaves masked; the loop of diffusers' AmusedPipeline."""
    own.wants("mask_token_id", own.v, "the symbol after the last")
    own.set_timesteps(own.steps)
    x = torch.full((own.n, own.d), own.v, dtype=torch.int64, device="cpu")
    noise = MaskNoise(own.v, dtype=torch.float64)
    for t in own.scheduler.timesteps:
        x = own.step(denoise(noise.evidence(x)).log(), t, x).prev_sample
    return x


def _committing(own: _Driven, denoise: Denoiser, keeps: str) -> Tensor:
    """Leaves are kept or random, or masked with `mask_token_id`; the step counts up, as in the pipelines, and `keeps`
    names what the scheduler calls the leaves that it keeps. Nothing is ended early."""
    own.set_timesteps(own.steps)
    masked = own.settings.get("mask_token_id")
    if masked not in (None, own.v):
        raise ValueError(f"settings: expected mask_token_id={own.v}, the symbol after the last, got {masked}")
    x = own.symbols() if masked is None else torch.full((own.n, own.d), own.v, dtype=torch.int64, device="cpu")
    kept = torch.zeros_like(x, dtype=torch.bool)
    noise = MaskNoise(own.v, dtype=torch.float64)
    for k in range(own.steps):
        shown = noise.evidence(x.masked_fill(~kept, own.v))
        # What is kept is certain to the last digit, as entropies are held against a bound.
        said = torch.where(kept[..., None], shown, denoise(shown))
        out = own.step(said.log(), k, x)
        x, now = out.prev_sample, getattr(out, keeps)
        kept = now if keeps == "accepted_index" else kept | now
    return x


def _uniform(own: _Driven, denoise: Denoiser) -> Tensor:
    """All leaves random at first, and known to be random with probability 1 - k/K at step k; the loop of diffusers'
    DiffusionGemmaPipeline, whose number of calls counts those of the corrector, and which ends nothing early."""
    sweeps = own.config.corrector_steps
    corrected = (own.steps - 1) // (1 + sweeps) if sweeps else 0
    K = own.steps - corrected * sweeps
    own.set_timesteps(K)
    x, noise = own.symbols(), UniformNoise(own.v, dtype=torch.float64)
    for k in range(K):
        x = own.step(denoise(noise.evidence(x, 1 - k / K)).log(), k, x).prev_sample
        for _ in range(sweeps if k < corrected else 0):
            said = denoise(noise.evidence(x, 1 - (k + 1) / K)).log()
            x = own.scheduler.step_correct(said, k, x, generator=own.generator).prev_sample
    return x


def _vq(own: _Driven, denoise: Denoiser) -> Tensor:
    """All leaves masked; masks and uniform noise by the scheduler's own schedule; the loop of VQDiffusionPipeline."""
    own.wants("num_vec_classes", own.v + 1, "the symbols and the mask")
    own.set_timesteps(own.steps)
    x = torch.full((own.n, own.d), own.v, dtype=torch.int64, device="cpu")
    for t in own.scheduler.timesteps:
        seen, other = (own.scheduler.__dict__[f"log_cumprod_{name}"][t].double().exp() for name in ("at", "bt"))
        evidence = MaskNoise(own.v, dtype=torch.float64).evidence(x) * seen + other
        said = denoise(evidence / evidence.sum(2, keepdim=True)).log().clamp_min(-70)
        x = own.step(said.transpose(1, 2), t, x).prev_sample
    return x


def _gaussian(own: _Driven, denoise: Denoiser, *, exploding: bool = False) -> Tensor:
    """One-hot leaves in Gaussian noise: x = √ᾱ x_0 + √(1-ᾱ) η, or x_0 + σ η if it is exploding, ᾱ = 1/(1+σ²)."""
    preconditions = getattr(own.scheduler, "precondition_outputs", None)
    predicts = own.config.prediction_type
    if predicts not in ("epsilon", "sample", "v_prediction"):
        raise ValueError(f"scheduler: expected prediction_type epsilon, sample or v_prediction, got {predicts!r}")
    own.set_timesteps(own.steps)
    shape = own.n, own.d, own.v
    x = torch.randn(shape, dtype=torch.float32, generator=own.generator, device="cpu") * own.scheduler.init_noise_sigma
    for i, t in enumerate(own.scheduler.timesteps):
        if hasattr(own.scheduler, "sigmas"):
            sigma = own.scheduler.sigmas[i].double()
            alpha_bar = 1 / (1 + sigma**2)
        else:
            alpha_bar = own.scheduler.alphas_cumprod[int(t)].double()
        signal, spread = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        seen = x * signal if exploding else x
        noise = GaussianNoise(own.v, partial(torch.full_like, fill_value=float(alpha_bar)))
        mean = denoise(noise.evidence(seen, 0.0).double()).float()
        eta = (seen - signal * mean) / spread
        said = {"sample": mean, "epsilon": eta, "v_prediction": signal * eta - spread * mean}[predicts]
        own.scheduler.scale_model_input(x[:1], t)  # which some insist on; the denoiser needs no scaling
        if preconditions is not None:  # solved for the raw output of the network
            none = torch.zeros_like(x)
            said = (mean - preconditions(x, none, sigma)) / preconditions(none, none + 1, sigma)
        x = own.step(said, t, x).prev_sample
    return x.argmax(2)


_exploding = partial(_gaussian, exploding=True)
_LOOPS: dict[str, Callable[[_Driven, Denoiser], Tensor]] = {
    "AmusedScheduler": _amused,
    "BlockRefinementScheduler": partial(_committing, keeps="transfer_index"),
    "DiscreteDDIMScheduler": _uniform,
    "EntropyBoundScheduler": partial(_committing, keeps="accepted_index"),
    "VQDiffusionScheduler": _vq,
    **dict.fromkeys(
        ("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"), _gaussian
    ),
    **dict.fromkeys(
        (
            *("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"),
            *("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"),
        ),
        _exploding,
    ),
}


def _loop(scheduler: object) -> Callable[[_Driven, Denoiser], Tensor] | None:
    """The loop of a scheduler, by the name of its class or of one from which it derives; None for a function."""
    for kind in type(scheduler).__mro__:
        if kind.__name__ in _LOOPS:
            return _LOOPS[kind.__name__]
    if callable(scheduler) and not isinstance(scheduler, type):
        return None
    raise ValueError(
        f"scheduler: expected one of {', '.join(_LOOPS)} of diffusers, or a function (denoise, n, steps, generator) → "
        f"strings with a loop of one's own around it, got {scheduler!r}"
    )
