"""Drawing data from a denoiser, and what the drawn data are worth: are they legal, are they new.

A denoiser is a function from evidence, (n, s^L, v), to leaf marginals of the same shape, whatever the noise was: the
exact one is belief propagation, a learnt one is a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hierlib._denoiser import Denoiser, said_by
from hierlib._finite import Watch, finite
from hierlib.diffusion import ddpm, ddpm_noise, reverse_process
from hierlib.grammar import Grammar, parents_of
from hierlib.inference import infer
from hierlib.noise import GaussianNoise, MaskNoise, epsilon_evidence

if TYPE_CHECKING:
    from diffusers import DDPMScheduler


def exact_denoiser(g: Grammar) -> Denoiser:
    """The posterior marginals of the leaves by belief propagation: the best that any denoiser can do."""
    return lambda evidence: infer(g, evidence, messages=False).marginals[0]


def denoiser_by_heart(training: Tensor) -> Denoiser:
    """The posterior marginals if the training set, (P, d), were all that there is.

    This is what minimises the training loss exactly, and it can only make copies.
    """

    def denoise(evidence: Tensor) -> Tensor:
        logs = evidence.double().clamp_min(1e-300).log()
        fits = torch.zeros((), dtype=logs.dtype, device=logs.device)
        for i in range(training.shape[1]):
            fits = fits + logs[:, i, training[:, i]]
        fits = fits.softmax(-1)
        strings = torch.nn.functional.one_hot(training, evidence.shape[-1]).double()
        return (fits @ strings.flatten(1)).reshape(evidence.shape).to(evidence.dtype)

    return denoise


@dataclass(frozen=True)
class Masking:
    """Masked diffusion: the way in hides leaves with probability t, the way back reveals them one by one.

    Args:
        v: alphabet size.
    """

    v: int
    name = "mask"
    end = 1.0  # the noise at which nothing is left

    @cached_property
    def noise(self) -> MaskNoise:
        """The noise process; its time is the probability t of a mask."""
        return MaskNoise(self.v)

    def times(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Noise levels to train on, (n,): uniform in [0, 1]."""
        return torch.rand(n, dtype=torch.float32, generator=generator, device=generator.device)

    def scale(self, t: Tensor) -> Tensor:
        """The noise as the book's figures show it: t itself."""
        return t

    def start(self, n: int, d: int, *, generator: torch.Generator) -> Tensor:
        """What the way back starts from when nothing is known: (n, d), all masked."""
        return torch.full((n, d), self.v, dtype=torch.int64, device=generator.device)

    def back(self, denoise: Denoiser, x_t: Tensor, t: float, *, generator: torch.Generator) -> Tensor:
        """Reveal the masked leaves, one at a time in random order, each drawn from its marginal given those seen.

        This is the reverse of the absorbing process in the limit of infinitely many steps: at a step so small that
        only one leaf of a datum comes out of its mask, which one is uniform, whatever t is.

        Args:
            denoise: a denoiser.
            x_t: (n, d) int64, v where masked.
            t: not needed: what is seen says it.
            generator: source of randomness.

        Returns:
            (n, d) int64, leaves 0…v-1.

        Raises:
            ValueError: the denoiser says what is not finite; the step is named. Or it is of another shape.
        """
        x, revealed = x_t.clone(), 0
        watch = Watch("way back from masks", "look at the denoiser's weights, or run it in float32", patience=1)
        while len(rows := (x == self.v).any(1).nonzero()[:, 0]):
            seen = x[rows]
            order = torch.rand(seen.shape, dtype=torch.float32, generator=generator, device=x.device)
            leaf = order.masked_fill_(seen != self.v, -1).argmax(1)
            belief = said_by(denoise, self.noise.evidence(seen))[torch.arange(len(rows), device=x.device), leaf]
            watch(revealed := revealed + 1, belief)
            x[rows, leaf] = torch.multinomial(belief, 1, generator=generator)[:, 0]
        return x


@dataclass(frozen=True)
class Diffusion:
    """Gaussian diffusion with diffusers' DDPM: β from 1e-4 to .02 in 1000 steps, the way back in fewer.

    Args:
        v: alphabet size.
        steps: of the way back from pure noise; divides 1000.
    """

    v: int
    steps: int = 100
    name = "gaussian"

    def __post_init__(self) -> None:
        if self.steps < 1 or 1000 % self.steps:
            raise ValueError(f"steps: expected a divisor of 1000, got {self.steps}")

    @cached_property
    def scheduler(self) -> DDPMScheduler:
        """diffusers' scheduler, set to `steps` steps."""
        scheduler = ddpm()
        scheduler.set_timesteps(self.steps)
        return scheduler

    @cached_property
    def noise(self) -> GaussianNoise:
        """The noise process; its time is the step k of 1000."""
        return ddpm_noise(self.v, self.scheduler)

    @property
    def end(self) -> int:
        """The noise at which nothing is left, the first step of the way back."""
        return int(self.scheduler.timesteps[0])

    def times(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Steps to train on, (n,) int64: uniform."""
        return torch.randint(
            self.scheduler.config.num_train_timesteps, (n,), generator=generator, device=generator.device
        )

    def scale(self, t: Tensor) -> Tensor:
        """The noise as the book's figures show it: the time at which ᾱ = exp(-2t)."""
        return -0.5 * self.noise.alpha_bar(t).log()

    def start(self, n: int, d: int, *, generator: torch.Generator) -> Tensor:
        """What the way back starts from when nothing is known: (n, d, v), pure noise."""
        return torch.randn((n, d, self.v), dtype=torch.float32, generator=generator, device=generator.device)

    def back(self, denoise: Denoiser, x_t: Tensor, t: float, *, generator: torch.Generator) -> Tensor:
        """Run `reverse_process` from step t, (n, d, v), to leaves (n, d) int64."""
        return reverse_process(denoise, x_t, int(t), generator=generator, scheduler=self.scheduler)


Process = Masking | Diffusion


def process(name: str, v: int) -> Process:
    """The noise process called "mask" or "gaussian"."""
    found = {"mask": Masking, "gaussian": Diffusion}.get(name)
    if found is None:
        raise ValueError(f"process: expected 'mask' or 'gaussian', got {name!r}")
    return found(v)


def generate(denoise: Denoiser, how: Process, n: int, d: int, *, generator: torch.Generator) -> Tensor:
    """Draw n data of d leaves from nothing, (n, d) int64."""
    with torch.no_grad():
        return how.back(denoise, how.start(n, d, generator=generator), how.end, generator=generator)


def turn(denoise: Denoiser, how: Process, leaves: Tensor, t: Sequence[float], *, generator: torch.Generator) -> Tensor:
    """Corrupt data to noise t and run the way back, once for each t: (T, n, d) int64.

    Every t starts from the same random numbers, as in `hierlib.experiments.uturns.uturn`, which draws from the exact
    posterior at once.
    """
    state, out = generator.get_state(), []
    for level in t:
        generator.set_state(state)
        x_t = how.noise.corrupt(leaves, level, generator=generator)
        with torch.no_grad():
            out.append(how.back(denoise, x_t, level, generator=generator))
    return torch.stack(out)


class Validity(NamedTuple):
    """Which nodes of levels 1…L of some strings are legal."""

    nodes: Tensor  #: (n, L) fraction of the nodes of a level that stand above legal parts and are legal themselves
    asked: Tensor  #: (n, L) number of nodes of a level that stand above legal parts
    legal: Tensor  #: (n, L) number of these that are legal, whose tuple is the right-hand side of a rule

    @property
    def strings(self) -> Tensor:
        """(n, L) bool, whether all nodes up to a level are legal; the last column says that the string is."""
        return self.nodes == 1

    def rule(self) -> Tensor:
        """(L,) of the tuples made of legal parts, the fraction that a rule allows; nan where there is none."""
        return self.legal.sum(0) / self.asked.sum(0)


def validity(g: Grammar, leaves: Tensor) -> Validity:
    """Parse strings as far up as they go.

    Args:
        g: the grammar.
        leaves: (n, s^L) symbols 0…v-1.

    Returns:
        `Validity`, float64; column l-1 is level l. Of data it is one everywhere.

    Raises:
        ValueError: wrong shape or symbols.
    """
    if leaves.ndim != 2 or leaves.shape[1] != g.d or leaves.min() < 0 or leaves.max() >= g.v:
        raise ValueError(f"leaves: expected (n, {g.d}) symbols in 0…{g.v - 1}, got shape {tuple(leaves.shape)}")
    x, good, columns = leaves.long(), torch.ones_like(leaves, dtype=torch.bool), []
    for level in range(g.L):
        below = good.reshape(len(x), -1, g.s).all(-1)
        x, legal = parents_of(g, level, x)  # above a part that is not legal: any symbol, no longer looked at
        good = below & legal
        columns.append((good.double().mean(1), below.double().sum(1), good.double().sum(1)))
    return Validity(*(torch.stack(column, -1) for column in zip(*columns, strict=True)))


def chance_validity(g: Grammar) -> tuple[Tensor, Tensor]:
    """What `validity` gives for strings of random symbols, as (nodes, rule), each (L,).

    A tuple of independent, uniform symbols is a right-hand side with probability f_l = symbols·m/v^s, and its parent
    is then uniform again; so rule_l = f_l and nodes_l = f_l·(nodes_{l-1})^s.
    """
    rule = [g.num_symbols(l) * g.m / g.v**g.s for l in range(1, g.L + 1)]
    nodes = [1.0]
    for f in rule:
        nodes.append(f * nodes[-1] ** g.s)
    both = torch.tensor([nodes[1:], rule], dtype=torch.float64, device="cpu")
    return both[0], both[1]


def found_in(leaves: Tensor, training: Tensor) -> Tensor:
    """Whether each string, (n, d), stands in a training set, (P, d): (n,) bool."""
    _, which = torch.cat([training.long(), leaves.long()]).unique(dim=0, return_inverse=True)
    return torch.isin(which[len(training) :], which[: len(training)])


def read_class(g: Grammar, leaves: Tensor, *, misprint: float = 0.01) -> Tensor:
    """The class of strings that need not be legal: the likeliest if each leaf is misprinted with a small probability.

    Args:
        g: the grammar.
        leaves: (n, s^L) symbols 0…v-1.
        misprint: ε of the evidence; small, so that a legal string has its own class.

    Returns:
        (n,) int64.
    """
    evidence = epsilon_evidence(leaves, eps=misprint, v=g.v, dtype=torch.float64)
    return infer(g, evidence, messages=False).marginals[g.L][:, 0].argmax(-1)


class Gap(NamedTuple):
    """What a denoiser lacks at one noise level, a leaf on average; one number a datum, (n,)."""

    kl: Tensor  #: Σ_a b(a) ln b(a)/q(a), b the exact marginal and q the denoiser's, nats
    loss: Tensor  #: -ln q(truth)
    exact_loss: Tensor  #: -ln b(truth)


def gap_to_exact(
    g: Grammar, denoise: Denoiser, how: Process, leaves: Tensor, t: float, *, generator: torch.Generator
) -> Gap:
    """Kullback-Leibler divergence of a denoiser's leaf marginals from the exact ones, on data at noise t.

    Over data of the grammar the mean of loss - exact_loss is that of kl: the truth is a draw from the exact posterior.

    Raises:
        ValueError: the denoiser's marginals are not finite, or of another shape than the evidence.
    """
    evidence = how.noise.evidence(how.noise.corrupt(leaves, t, generator=generator), t)
    with torch.no_grad():
        said = finite(said_by(denoise, evidence), f"the denoiser's marginals at t = {t:g}", "look at its weights")
    q = said.double().clamp_min(1e-30)
    b = infer(g, evidence.double(), messages=False).marginals[0]
    kl = torch.xlogy(b, b / q).sum(-1).mean(1)
    losses = (-x.gather(-1, leaves[..., None]).log().mean((1, 2)) for x in (q, b))
    return Gap(kl, *losses)
