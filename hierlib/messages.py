"""The messages of exact inference under the ε-process, averaged over nodes: what the mean field predicts.

Figures 12 (upward), 13 (downward) and 14 (marginal) of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hierlib.evidence import epsilon_evidence
from hierlib.experiments import CHUNK, Noise, _evidence_of
from hierlib.grammar import random_grammar, sample
from hierlib.inference import class_posterior, infer


class MessageCurves(NamedTuple):
    """Belief in the true symbol, averaged over the nodes and data of a rule draw; level 0 = leaves … L = class."""

    eps: Tensor  #: (T,) noise levels
    up: Tensor  #: (draws, T, L+1) upward, to be compared with p of `meanfield.solve`
    down: Tensor  #: (draws, T, L+1) downward, with q
    marginal: Tensor  #: (draws, T, L+1) posterior, with P
    sd: Tensor  #: (3, T, L+1) standard deviation over all nodes, data and draws of the three, in this order


def message_curves(
    eps: Sequence[float] | Tensor,
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
    eps = torch.as_tensor(eps, dtype=torch.float64).reshape(-1)
    step = max(1, CHUNK // (data * s**L * v))
    first, second = [], []
    for _ in range(draws):
        g = random_grammar(v=v, m=m, s=s, L=L, generator=generator)
        x = sample(g, data, generator=generator)
        rows = []
        for part in eps.split(step):
            again = [y.repeat(len(part), 1) for y in x]
            noise = part.to(g.device).repeat_interleave(data)
            b = infer(g, epsilon_evidence(again[0], eps=noise, v=v), backend=backend)
            beliefs = [[belief_in(z, y).double() for z, y in zip(kind, again, strict=True)] for kind in b[:3]]
            moments = [[[z.pow(k).mean(1) for z in kind] for kind in beliefs] for k in (1, 2)]
            moments = torch.stack([torch.stack([torch.stack(z, -1) for z in kinds]) for kinds in moments])
            rows.append(moments.unflatten(2, (len(part), data)).mean(3))  # (2, 3, levels of noise, L+1)
        mean, square = torch.cat(rows, 2).cpu()
        first.append(mean)
        second.append(square)
    means = torch.stack(first, 1)  # (3, draws, T, L+1)
    variance = torch.stack(second, 1).mean(1) - means.mean(1).square()
    return MessageCurves(eps, *means, variance.clamp_min(0).sqrt())


def class_curves(
    noise: Noise | None,
    t: Sequence[float] | Tensor,
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    generator: torch.Generator,
    backend: str = "auto",
) -> Tensor:
    """Exact belief in the true class for fresh grammars and data: the top level of `experiments.level_curves` alone.

    It needs the way up only, so it costs a third.

    Args:
        noise: a noise process, or None for the ε-process, whose t is ε.
        t: (T,) noise levels, all applied to the same data with the same random numbers.
        v, m, s, L, draws, data, generator, backend: as for `message_curves`.

    Returns:
        (draws, T), mean over the data of each draw, float64 on the CPU.

    Raises:
        ValueError: as `random_grammar`, `sample` and `infer` do.

    >>> class_curves(None, [0.0, 1.0], v=8, m=2, s=2, L=3, draws=1, data=4, generator=torch.Generator().manual_seed(0))
    tensor([[1.0000, 0.1250]], dtype=torch.float64)
    """
    t = torch.as_tensor(t, dtype=torch.float64).reshape(-1)
    step = max(1, CHUNK // (data * s**L * v))
    out = []
    for _ in range(draws):
        g = random_grammar(v=v, m=m, s=s, L=L, generator=generator)
        x = sample(g, data, generator=generator)
        rows = []
        for part, evidence in _evidence_of(noise, t, x[0], v, step, generator):
            belief, _ = class_posterior(g, evidence, backend=backend)
            rows.append(belief.gather(1, x[L].repeat(part, 1)).reshape(part, data).double().mean(1))
        out.append(torch.cat(rows))
    return torch.stack(out).cpu()


def belief_in(belief: Tensor, symbols: Tensor) -> Tensor:
    """The belief of each node in the symbol named: (n, nodes, symbols) and (n, nodes) → (n, nodes)."""
    return belief.gather(-1, symbols[..., None])[..., 0]
