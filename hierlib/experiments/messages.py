"""The messages of exact inference under the ε-process, averaged over nodes: what the mean field predicts.

Figures 12 (upward), 13 (downward) and 14 (marginal) of the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hierlib._devices import array
from hierlib._numbers import Numbers, noise_levels
from hierlib.experiments.curves import Interval, mean_interval, plus_minus, standard_error
from hierlib.experiments.uturns import CHUNK, drawn_data
from hierlib.inference import infer
from hierlib.noise import epsilon_evidence
from hierlib.theory.meanfield import MeanField

Array = NDArray[np.float64]


class MessageCurves(NamedTuple):
    """Belief in the true symbol, averaged over the nodes and data of a rule draw; level 0 = leaves … L = class."""

    eps: Tensor  #: (T,) noise levels
    up: Tensor  #: (draws, T, L+1) upward, to be compared with p of `meanfield.solve`
    down: Tensor  #: (draws, T, L+1) downward, with q
    marginal: Tensor  #: (draws, T, L+1) posterior, with P
    sd: Tensor  #: (3, T, L+1) standard deviation over all nodes, data and draws of the three, in this order


def message_curves(
    eps: Numbers,
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    generator: torch.Generator,
    backend: str = "auto",
) -> MessageCurves:
    """Exact messages of the ε-process for fresh grammars and data, eqs. (16-21).

    Args:
        eps: (T,) noise levels in [0, 1]; all are applied to the same data.
        v, m, s, L: of the grammars, see `Grammar`; the classes are as many as the symbols.
        draws: number of grammars, at least 1.
        data: number of data from each, at least 1.
        generator: source of randomness, on whose device all is done.
        backend: see `infer`.

    Returns:
        `MessageCurves`, float64 on the CPU.

    Raises:
        ValueError: as `random_grammar`, `sample` and `infer` do.

    >>> c = message_curves([0.0, 0.5], v=8, m=2, s=2, L=3, draws=2, data=4, generator=torch.Generator().manual_seed(0))
    >>> c.up.shape, bool((c.up[:, 0] == 1).all())
    (torch.Size([2, 2, 4]), True)
    """
    eps, first, second = noise_levels(eps, "eps"), [], []
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, generator=generator):
        rows = []
        for part in eps.split(max(1, CHUNK // (x[0].numel() * v))):
            again = [y.repeat(len(part), 1) for y in x]
            noise = part.to(g.device).repeat_interleave(data)
            b = infer(g, epsilon_evidence(again[0], eps=noise, v=v), backend=backend)
            beliefs = [[belief_in(z, y).double() for z, y in zip(kind, again, strict=True)] for kind in b.kinds]
            powers = [[[z.pow(k).mean(1) for z in kind] for kind in beliefs] for k in (1, 2)]
            moments = torch.stack([torch.stack([torch.stack(z, -1) for z in kinds]) for kinds in powers])
            rows.append(moments.unflatten(2, (len(part), data)).mean(3))  # (2, 3, levels of noise, L+1)
        mean, square = torch.cat(rows, 2).cpu()
        first.append(mean)
        second.append(square)
    means = torch.stack(first, 1)  # (3, draws, T, L+1)
    variance = torch.stack(second, 1).mean(1) - means.mean(1).square()
    up, down, marginal = means
    return MessageCurves(eps, up, down, marginal, variance.clamp_min(0).sqrt())


class Compared(NamedTuple):
    """One kind of belief by noise and level, (T, L+1) each: measured, and in the mean field."""

    found: Interval[Array]  #: mean over rule draws
    standard_error: Array  #: of that mean
    sd_over_nodes: Array  #: standard deviation over all nodes, data and draws
    theory: Array

    @property
    def mean(self) -> Array:
        """What is measured, without its interval."""
        return self.found.value

    @property
    def gap(self) -> Array:
        """What is measured minus the theory."""
        return self.mean - self.theory


def compared(curves: MessageCurves, theory: MeanField, *, seed: int = 0) -> dict[str, Compared]:
    """Of the upward, downward and marginal beliefs, by these names, what two rule draws or more say of a theory.

    Args:
        curves: of exact inference.
        theory: at the same noises, for the same grammar.
        seed: of the intervals, over draws.
    """
    kinds = zip(("up", "down", "marginal"), curves[1:4], curves.sd.numpy(), theory, strict=True)
    return {
        name: Compared(mean_interval(rows, seed=seed), standard_error(rows), sd, expected)
        for name, rows, sd, expected in kinds
    }


class SingleMessages(NamedTuple):
    """Upward messages of single nodes of the lowest levels."""

    v: int  #: of the grammars
    s: int
    L: int
    eps: tuple[float, ...]  #: (T,) noise levels
    up: list[list[Tensor]]  #: by noise and level, (nodes, v) messages of the first grammar's datum
    truth: list[Tensor]  #: by level, (nodes,) its symbols
    right: Tensor  #: (draws, T, levels) fraction of nodes whose largest message is that of the truth


def single_messages(
    eps: Sequence[float], levels: int, *, v: int, m: int, s: int, L: int, draws: int, generator: torch.Generator
) -> SingleMessages:
    """Messages of one datum of each of a few grammars, under the ε-process (figure 11).

    Args:
        eps: (T,) noise levels in [0, 1].
        levels: how many, from the leaves up, at most L+1.
        v, m, s, L: of the grammars. draws: their number. generator: source of randomness.
    """
    right = torch.zeros(draws, len(eps), levels, dtype=torch.float64, device="cpu")
    shown: list[list[Tensor]] = []
    truth: list[Tensor] = []
    for draw, (g, x) in enumerate(drawn_data(draws, 1, v=v, m=m, s=s, L=L, generator=generator)):
        for i, noise in enumerate(eps):
            up = infer(g, epsilon_evidence(x[0], eps=noise, v=v)).kinds[0][:levels]
            right[draw, i] = torch.stack([(u.argmax(-1) == y).double().mean() for u, y in zip(up, x)])
            shown += [[u[0].cpu() for u in up]] if draw == 0 else []
        truth = truth or [y[0].cpu() for y in x[:levels]]
    return SingleMessages(v, s, L, tuple(eps), shown, truth, right)


class Largest(NamedTuple):
    """The largest distance of measured means from a theory, and where it is."""

    size: float
    error: float  #: standard error of the measurement there
    eps: float
    level: int

    @property
    def within(self) -> tuple[float, float]:
        """The size with one standard error to either side."""
        return self.size - self.error, self.size + self.error

    @property
    def interval(self) -> Interval:
        """The size with 1.96 standard errors to either side."""
        return plus_minus(self.size, self.error)


def largest_gap(
    found: ArrayLike, theory: ArrayLike, eps: ArrayLike, *, where: ArrayLike, levels: Sequence[int] | None = None
) -> Largest | None:
    """Where a theory misses the means over rule draws by most.

    Args:
        found: (draws, T, L+1) beliefs, as in `MessageCurves`.
        theory: (T, L+1).
        eps: (T,) noises.
        where: (T,) bool, the noises to look at.
        levels: those to look at, all by default.

    Returns:
        None where there is no noise to look at.
    """
    found, eps, where = np.asarray(found), np.asarray(eps), np.asarray(where, bool)
    if not where.any():
        return None
    looked_at = np.arange(found.shape[2]) if levels is None else np.asarray(levels)
    off, error = np.abs(found.mean(0) - theory), standard_error(found)
    i, j = np.unravel_index(np.where(where[:, None], off, -1.0)[:, looked_at].argmax(), (len(eps), len(looked_at)))
    at = i, looked_at[j]
    return Largest(float(off[at]), float(error[at]), float(eps[i]), int(looked_at[j]))


class NodeBeliefs(NamedTuple):
    """Beliefs in the true symbol of every node of a level, (draws × data, s^(L-l))."""

    up: Tensor
    down: Tensor
    marginal: Tensor


def node_beliefs(
    eps: float, *, v: int, m: int, s: int, L: int, draws: int, data: int, generator: torch.Generator
) -> list[NodeBeliefs]:
    """Exact messages at every node below the class, leaves first, of all data of all grammars.

    Args:
        eps: noise of the ε-process.
        v, m, s, L: of the grammars. draws: their number. data: number of data from each.
        generator: source of randomness.
    """
    rows: list[list[list[Tensor]]] = [[[], [], []] for _ in range(L)]
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, generator=generator):
        beliefs = infer(g, epsilon_evidence(x[0], eps=eps, v=v))
        for l, level in enumerate(rows):
            for kind, into in zip(beliefs.kinds, level, strict=True):
                into.append(belief_in(kind[l], x[l]))
    return [NodeBeliefs(*(torch.cat(kind) for kind in level)) for level in rows]


def sent_down(rules: Tensor, q: float, p: float) -> Tensor:
    """Unnormalised downward message to the first child of a node, eq. (46), for drawn tables of rules.

    Args:
        rules: (tables, v, m, s), as `hierlib.theory.population.planted_rules` draws them: all true symbols are 0.
        q: belief in the true parent. p: belief in each true sibling; all others share the rest evenly.

    Returns:
        (tables, v) float64; its sum over symbols is the normaliser.
    """
    tables, v = rules.shape[:2]
    above = torch.full((v,), (1 - q) / (v - 1), dtype=torch.float64, device=rules.device)
    above[0] = q
    below = torch.tensor([p, (1 - p) / (v - 1)], dtype=torch.float64, device=rules.device)
    weight = above[:, None] * below[(rules[..., 1:] != 0).long()].prod(-1)
    message = torch.zeros(tables, v, dtype=torch.float64, device=rules.device)
    return message.scatter_add_(1, rules[..., 0].flatten(1), weight.flatten(1))


def synonym_counts(rules: Tensor) -> Tensor:
    """How many other symbols fit the true parent and the true siblings, for drawn tables of rules.

    Args:
        rules: as for `sent_down`.

    Returns:
        (tables,) float64, whole numbers to rounding; 1/(1 + that) is the downward message if all else is known.
    """
    sent = sent_down(rules, 1.0, 1.0)
    return (sent[:, 0] / sent.sum(1)).reciprocal() - 1


class Averaged(NamedTuple):
    """Averages over drawn tables of rules, compared with formulas for them."""

    z: Array  #: distances in standard errors, of all averages that were compared
    q: Array  #: (Q,) beliefs in the parent
    p: Array  #: (P,) beliefs in the siblings
    ratio: Interval[Array]  #: (Q, P) mean of the normalised message at the truth over the annealed one, minus 1

    @property
    def highest(self) -> Interval:
        """The largest of the ratios."""
        return self.ratio.at(np.unravel_index(self.ratio.value.argmax(), np.shape(self.ratio.value)))


def compare_averages(
    rules: Tensor, mean_count: Callable[[int], float], formulas: Callable[..., Sequence[float]]
) -> Averaged:
    """Is the downward message, averaged over tables of rules, what the formulas say?

    Args:
        rules: as for `sent_down`.
        mean_count: k → mean number of drawn rules of one parent set, first symbol given, with k wrong siblings.
        formulas: (q, p, v, m, s) → averages of the message at the truth, at one wrong symbol, of its sum, and the
            annealed message at the truth.
    """
    _, v, m, s = rules.shape
    wrong, z = (rules[..., 1:] != 0).sum(-1), []
    for k in range(s):
        for first in (1, 0):  # a wrong first symbol, and the true one, with which the reference is always there
            count = ((rules[..., 0] == first) & (wrong == k)).sum((1, 2))
            z.append(_z_score(count, 1 if first == 0 and k == 0 else mean_count(k)))
    q = np.array([1 / v, 0.3, 0.7, 0.99])
    p = np.array([1 / v, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.99])
    ratio, error = np.zeros((2, len(q), len(p)))
    for i, a in enumerate(q):
        for j, b in enumerate(p):
            sent = sent_down(rules, a, b)
            true, one_wrong, total, annealed = formulas(a, b, float(v), float(m), float(s))
            z += [_z_score(sent[:, 0], true), _z_score(sent[:, 1], one_wrong), _z_score(sent.sum(1), total)]
            share = array(sent[:, 0] / sent.sum(1)) / annealed
            ratio[i, j], error[i, j] = share.mean() - 1, share.std() / len(share) ** 0.5
    return Averaged(np.array(z), q, p, plus_minus(ratio, error))


def _z_score(sample: Tensor, value: float) -> float:
    """Distance of the mean of a sample from a value, in standard errors; 0 if it is exact and does not vary."""
    sample = sample.double()
    error, gap = float(sample.std()) / len(sample) ** 0.5, float(sample.mean()) - float(value)
    return abs(gap) / error if error > 1e-12 else (0.0 if abs(gap) < 1e-9 else np.inf)


def belief_in(belief: Tensor, symbols: Tensor) -> Tensor:
    """The belief of each node in the symbol named: (n, nodes, symbols) and (n, nodes) → (n, nodes)."""
    return belief.gather(-1, symbols[..., None])[..., 0]
