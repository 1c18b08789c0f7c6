"""Inference that knows the rules of the lowest levels only: exact in a world where larger blocks are independent.

Two such worlds keep the law of every block of s^k leaves: in one the blocks are independent of each other, in the other
only given the class (Garnier-Brun et al., 2408.15138). With k = L either is the grammar itself, with k = 0 each leaf is
alone. The losses of these worlds are a ladder, on which what a denoiser has learnt can be measured in levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hierlib._kernels.precision import computed_in
from hierlib.grammar import Grammar, block_grammar, check_device, check_generator, whole
from hierlib.inference import Beliefs, check_evidence, infer, posterior_sample, refuse
from hierlib.probability import checked_leaves, entropy, prior_marginals, rule_entropies, symbol_probabilities

Tie = Literal["class"] | None


def infer_filtered(g: Grammar, evidence: Tensor, *, levels: int, tie: Tie = None) -> Beliefs:
    """The posterior of every symbol up to a level in a world that has the rules of the lowest levels only.

    Args:
        g: the grammar.
        evidence: (batch, s^L, v), as for `hierlib.infer`.
        levels: k, how many levels of rules are known, 0 … L.
        tie: what ties the blocks of s^k leaves to each other: nothing, each with its own prior, or the "class", which
            has the grammar's prior and gives each block's symbol with the probability that the grammar gives it.

    Returns:
        `Beliefs` without messages, with the marginals of levels 0 … k, each (batch, s^(L-l), symbols), in the
        evidence's floating type, and log evidence in this world. With levels = L it is `hierlib.infer`.

    Raises:
        ValueError: as for `hierlib.infer`; levels is out of range; there is no such tie.
    """
    levels = _checked(g, levels, tie)
    check_evidence(g, evidence)
    if levels == g.L:
        return infer(g, evidence, messages=False)
    nodes, batch = g.num_nodes(levels), len(evidence)
    blocks = evidence.unflatten(1, (nodes, -1)).flatten(0, 1)
    if tie is None:
        priors = prior_marginals(g)[levels].repeat(batch, 1)
        found = _of_blocks(g, levels, blocks, priors)
        log_evidence = found.log_evidence.unflatten(0, (batch, nodes)).sum(1)
    else:
        priors, log_evidence = _told_by_class(g, levels, _of_blocks(g, levels, blocks, None), batch)
        found = _of_blocks(g, levels, blocks, priors)
    marginals = tuple(m.unflatten(0, (batch, nodes)).flatten(1, 2) for m in found.marginals)
    return Beliefs(None, None, marginals, log_evidence.to(computed_in(evidence.dtype)))


def _of_blocks(g: Grammar, levels: int, blocks: Tensor, priors: Tensor | None) -> Beliefs:
    """Inference on blocks, (batch·nodes, s^k, v), each for itself; the priors are uniform if not given."""
    if levels == 0:
        leaf = blocks.double()
        refuse(
            ~((leaf >= 0) & (leaf < torch.inf)).all(2).all(1),
            "expected finite non-negative numbers; leaf {} has others",
        )
        joint = leaf * (1 / g.v if priors is None else priors[:, None])
        total = joint.sum(2)
        refuse(total[:, 0] == 0, "leaf {}, counted on from datum to datum, is impossible")
        return Beliefs(None, None, ((joint / total[..., None]).to(blocks.dtype),), total[:, 0].log())
    try:
        return infer(block_grammar(g, levels), blocks, class_prior=priors, messages=False)
    except ValueError as error:
        nodes = g.num_nodes(levels)
        raise ValueError(
            f"{nodes} blocks a datum, counted on from datum to datum as data of their own: {error}"
        ) from error


def posterior_sample_filtered(
    g: Grammar, evidence: Tensor, *, levels: int, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Draw data from the posterior in the world of the lowest levels, without a tie: each block by itself.

    Args:
        g: the grammar.
        evidence: (batch, s^L, v), as for `hierlib.infer`.
        levels: k, how many levels of rules are known, 0 … L.
        generator: source of randomness.

    Returns:
        The symbols of levels 0 … k, one int64 tensor each, (batch, s^(L-l)). With levels = L it is one draw of
        `hierlib.posterior_sample`.

    Raises:
        ValueError: as for `infer_filtered`.
    """
    levels = _checked(g, levels, None)
    check_evidence(g, evidence)
    check_generator(generator)
    check_device("generator", generator.device, g)
    if levels == g.L:
        return tuple(x[:, 0] for x in posterior_sample(g, evidence, generator=generator))
    if levels == 0:
        belief = infer_filtered(g, evidence, levels=0).marginals[0].double()
        return (torch.multinomial(belief.flatten(0, 1), 1, generator=generator).reshape(evidence.shape[:2]),)
    nodes, batch = g.num_nodes(levels), len(evidence)
    blocks = evidence.unflatten(1, (nodes, -1)).flatten(0, 1)
    priors = prior_marginals(g)[levels].repeat(batch, 1)
    drawn = posterior_sample(block_grammar(g, levels), blocks, class_prior=priors, generator=generator)
    return tuple(x[:, 0].reshape(batch, -1) for x in drawn)


def _told_by_class(g: Grammar, levels: int, alone: Beliefs, batch: int) -> tuple[Tensor, Tensor]:
    """What the class tells each block's symbol after it has heard the others, (batch·nodes, v), and log evidence.

    alone: what blocks say with a uniform prior.
    """
    every = torch.eye(g.num_classes, dtype=torch.float64, device=g.device)
    symbol = symbol_probabilities(g, every)[levels]  # (classes, nodes, v)
    up = alone.marginals[-1].double()[:, 0].unflatten(0, (batch, -1))  # (batch, nodes, v): ν↑ up to a factor
    heard = torch.einsum("bna,cna->bnc", up, symbol).log()
    before = torch.cat([heard.new_zeros(batch, 1, g.num_classes), heard.cumsum(1)], 1)
    after = torch.cat([heard.flip(1).cumsum(1).flip(1), heard.new_zeros(batch, 1, g.num_classes)], 1)
    if g.class_prior is None:
        total = before[:, -1].logsumexp(1) - math.log(g.num_classes)
    else:
        before = before + g.class_prior.log()  # what a class brings with it
        total = before[:, -1].logsumexp(1)
    refuse(torch.isneginf(total), "datum {} is impossible: no class gives its blocks")
    others = (before[:, :-1] + after[:, 1:]).softmax(2)  # no difference of logarithms, so that -inf stays -inf
    scale = alone.log_evidence.double().unflatten(0, (batch, -1)) + math.log(g.v)  # of evidence over ν↑
    return torch.einsum("bnc,cna->bna", others, symbol).flatten(0, 1), total + scale.sum(1)


def block_information(g: Grammar) -> Tensor:
    """What a world of k levels without a tie misses, KL(data ‖ world of k levels), in nats: in closed form.

    It is the total correlation of the blocks, the sum of their entropies minus that of a datum.

    Args:
        g: the grammar.

    Returns:
        (L+1,) float64, k = 0 … L; it falls to 0.
    """
    found, of_rules = [], rule_entropies(g)
    for k, prior in enumerate(prior_marginals(g)):
        inner = g.num_nodes(k) * (g.s**k - 1) // (g.s - 1) * math.log(g.m)  # of the rules below the blocks' symbols
        if g.weights is not None:
            inner = sum(of_rules[:k])
        found.append(torch.special.entr(prior).sum() + inner)
    return torch.stack(found).cpu() - entropy(g)


def ladder(g: Grammar, leaves: Tensor, evidence: Tensor, *, hidden: Tensor | None = None, tie: Tie = None) -> Tensor:
    """Mean loss -ln b_k(x_i) of inference that knows k levels: what each further level of rules is worth.

    Args:
        g: the grammar.
        leaves: (n, s^L) the true leaves.
        evidence: (n, s^L, v), what is seen of them.
        hidden: (n, s^L) bool, the leaves that count; all of them if not given. Of masks: those that are masked.
        tie: see `infer_filtered`.

    Returns:
        (L+1,) float64, in nats, k = 0 … L.

    Raises:
        ValueError: as for `infer_filtered`; leaves or hidden are of another shape or type, or nothing is hidden.
    """
    x = checked_leaves(g, leaves)
    check_evidence(g, evidence)
    hidden = torch.ones_like(x, dtype=torch.bool) if hidden is None else hidden
    if hidden.shape != x.shape or hidden.dtype != torch.bool or len(evidence) != len(x) or not hidden.any():
        raise ValueError(
            f"hidden: expected bool of the shape of the leaves, {tuple(x.shape)}, with one that is hidden, and as much "
            f"evidence, got {hidden.dtype} {tuple(hidden.shape)} and {tuple(evidence.shape)}"
        )
    steps = []
    for k in range(g.L + 1):
        belief = infer_filtered(g, evidence, levels=k, tie=tie).marginals[0].double()
        steps.append(-belief.gather(2, x[..., None])[..., 0][hidden].log().mean())
    return torch.stack(steps).cpu()


def effective_level(loss: ArrayLike, steps: Sequence[float] | Tensor) -> np.ndarray:
    """Where a loss stands on a ladder, in levels: 0 for leaves alone … L for exact inference, linear in between.

    Args:
        loss: losses on the same data, of any shape, in nats.
        steps: (L+1,) falling, as from `ladder`.

    Returns:
        Of the shape of loss; nan where it is above the ladder, L where it is below by sampling error.

    Raises:
        ValueError: the steps do not fall, as where they are closer than their error: then no loss tells the level.
    """
    falling = np.asarray(steps, float)
    if falling.ndim != 1 or len(falling) < 2 or not (np.diff(falling) < 0).all():
        raise ValueError(
            f"steps: expected a falling loss from level to level, got {falling.round(4).tolist()}; take more data, "
            "or a noise at which levels matter"
        )
    levels = np.arange(len(falling), dtype=float)
    return np.interp(np.asarray(loss, float), falling[::-1], levels[::-1], right=np.nan)


def _checked(g: Grammar, levels: int, tie: str | None) -> int:
    if tie not in (None, "class"):
        raise ValueError(f'tie: expected None or "class", got {tie!r}')
    levels = whole("levels", levels, 0)
    if levels > g.L:
        raise ValueError(f"levels: expected at most L = {g.L}, got {levels}")
    return levels
