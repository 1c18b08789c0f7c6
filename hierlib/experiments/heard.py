"""Belief propagation as talk: which leaf the others correct, and what a node hears from below and from above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hierlib._numbers import noise_levels
from hierlib.experiments.messages import belief_in
from hierlib.experiments.uturns import drawn_data
from hierlib.grammar import Grammar, check_generator
from hierlib.inference import infer
from hierlib.noise import Noise, epsilon_evidence, evidence_of


class Corrected(NamedTuple):
    """A noisy datum in which the others correct a leaf."""

    datum: int
    leaf: int
    by_siblings: bool  #: whether the leaf stays wrong with its siblings blank


def corrected_leaves(
    g: Grammar, x: tuple[Tensor, ...], evidence: Tensor, *, tried: int = 200
) -> tuple[int, Corrected | None]:
    """In how many data the others set a leaf right that is wrong on its own, and the first in which it is seen best.

    Best is one in which it is the only wrong leaf, nothing is wrong after all messages, and its siblings are what
    corrects it; else one without the last; else (some grammars cannot do it) one in which a leaf is corrected at all.

    Args:
        g: the grammar.
        x: data, (n, s^(L-l)) a level. evidence: (n, s^L, v), what was seen of them.
        tried: of how many data of the second kind the siblings are blanked.

    Returns:
        Their number, and `Corrected`, or None if there are none.
    """
    marginals = infer(g, evidence).marginals
    alone = evidence.argmax(-1) != x[0]
    after = [marginal.argmax(-1) != level for marginal, level in zip(marginals, x, strict=True)]
    mended = (alone & ~after[0]).any(1)
    best = mended & (alone.sum(1) == 1) & ~torch.cat(after, 1).any(1)
    by_siblings = torch.zeros(len(mended), dtype=torch.bool, device=g.device)
    for k in best.nonzero()[:tried, 0].tolist():
        leaf = int(alone[k].nonzero()[0, 0])
        deaf = evidence[k : k + 1].clone()
        family = torch.arange(leaf // g.s * g.s, leaf // g.s * g.s + g.s, device=g.device)
        deaf[:, family[family != leaf]] = 1 / g.v
        by_siblings[k] = infer(g, deaf).marginals[0][0, leaf].argmax() != x[0][k, leaf]
    for mask in (by_siblings, best, mended):
        if mask.any():
            datum = int(mask.nonzero()[0, 0])
            leaf = int((alone & ~after[0])[datum].nonzero()[0, 0])
            return int(mended.sum()), Corrected(datum, leaf, bool(by_siblings[datum]))
    return 0, None


class Heard(NamedTuple):
    """Belief in the true symbol, averaged over nodes and data of each draw; on the CPU."""

    alone: Tensor  #: (draws, T) of a leaf on its own
    together: Tensor  #: (draws, T) of a leaf after all messages
    halves: Tensor  #: (draws, 3, L+1) of each level, from below, from above, and both
    prior: Tensor  #: (draws,) below the class, where nothing is seen
    no_noise: float  #: largest doubt where everything is seen
    all_noise: float  #: largest distance of the class from its prior where nothing is


def heard(
    noise: Noise,
    t: Sequence[float],
    at: float,
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    several: int = 8,
    generator: torch.Generator,
) -> Heard:
    """What a node hears from where: each leaf alone, with the grammar, and by level from below and from above.

    Args:
        noise: of the leaves. t: (T,) its levels, each with a datum of its own.
        at: the level of noise of `halves`, with `several` data.
        v, m, s, L: of the grammars. draws: their number. generator: source of randomness.
    """
    check_generator(generator)
    levels = noise_levels(t).tolist()
    points = len(levels)
    times = torch.tensor([*levels, *[at] * several], dtype=torch.float32, device=generator.device)
    alone, together, halves, prior, no_noise, all_noise = [], [], [], [], 0.0, 0.0
    for g, x in drawn_data(draws, len(times), v=v, m=m, s=s, L=L, generator=generator):
        evidence = evidence_of(noise, x[0], times, generator=generator)
        b = infer(g, evidence)
        alone.append(_belief(evidence, x[0]).mean(1)[:points])
        together.append(_belief(b.marginals[0], x[0]).mean(1)[:points])
        kinds = [[_belief(q[l][points:], x[l][points:]).mean() for l in range(L + 1)] for q in b.kinds]
        halves.append(torch.stack([torch.stack(kind) for kind in kinds]))
        first = [level[:1] for level in x]
        clear, blank = (
            infer(g, epsilon_evidence(first[0], eps=eps, v=v, dtype=torch.float64)).marginals for eps in (0.0, 1.0)
        )
        no_noise = max(no_noise, max(float((1 - _belief(q, y)).abs().max()) for q, y in zip(clear, first)))
        all_noise = max(all_noise, float((blank[L] - 1 / v).abs().max()))
        # Without evidence a marginal is the prior of its node, so the mean belief in the truth is its sum of squares.
        prior.append(torch.stack([(q**2).sum(-1).mean() for q in blank[:L]]).mean())
    found = [torch.stack(each).cpu() for each in (alone, together, halves, prior)]
    return Heard(found[0], found[1], found[2], found[3], no_noise, all_noise)


def _belief(belief: Tensor, truth: Tensor) -> Tensor:
    """The belief in the true symbol of each node, of beliefs in any normalisation."""
    return belief_in(belief / belief.sum(-1, keepdim=True), truth)
