"""The messages of exact inference under the ε-process, averaged over nodes: what the mean field predicts.

Figures 12 (upward), 13 (downward) and 14 (marginal) of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hierlib.experiments.uturns import CHUNK, drawn_data
from hierlib.inference import infer
from hierlib.noise import epsilon_evidence


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
    eps = torch.as_tensor(eps, dtype=torch.float64, device="cpu").reshape(-1)
    step = max(1, CHUNK // (data * s**L * v))
    first, second = [], []
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, generator=generator):
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


def belief_in(belief: Tensor, symbols: Tensor) -> Tensor:
    """The belief of each node in the symbol named: (n, nodes, symbols) and (n, nodes) → (n, nodes)."""
    return belief.gather(-1, symbols[..., None])[..., 0]
