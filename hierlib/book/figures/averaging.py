"""Figures of the average over grammars: clouds of messages, the cost of averaging, messages of real trees."""

import json
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from hierlib._devices import array
from hierlib.book.page import style
from hierlib.book.page.glue import Drawing
from hierlib.experiments.curves import Interval
from hierlib.experiments.messages import SingleMessages, belief_in
from hierlib.experiments.tables import messages
from hierlib.theory import meanfield


def cloud(counts: Mapping[int, Tensor], m: int) -> Drawing:
    """The message to the true parent against the belief in its children, one thin curve a table of rules; live.

    Args:
        counts: by number of rules, (n, v, s+1) as of `shell_counts`: what the slider chooses from.
        m: which of them is in print.
    """
    n, v, s = counts[m].shape[0], counts[m].shape[1], counts[m].shape[2] - 1
    choices = list(counts)
    data = {
        **{"v": v, "s": s, "m": choices, "start": choices.index(m)},
        "own": [each[:, 0, 1:].tolist() for each in counts.values()],
        "all": [each.sum(1)[:, 1:].tolist() for each in counts.values()],
    }
    grid = torch.linspace(1 / v, 1, 61, dtype=torch.float64, device="cpu")
    weights = messages(counts[m].double().cpu(), grid)  # (n, v, p)
    lines = array(weights[:, 0] / weights.sum(1))
    fig, ax = plt.subplots(figsize=(style.WIDTH, 4))
    ax.plot(grid, lines.T, color=style.palette(2)[0], linewidth=0.5, alpha=0.12, rasterized=True)
    ax.plot([0, 1], [0, 1], ":", color=style.CHANCE, linewidth=1.2)
    style.theory(ax, grid, meanfield.upward_map(grid, v, m, s), color=style.INK, label="annealed, $F(p)$")
    ax.plot(grid, lines.mean(0), "--", color=style.CHANGED, linewidth=1.6, label=f"mean of the {n}")
    ax.set(xlabel="belief $p$ in each true child", ylabel="message $p'$ to the true parent")
    ax.set(xlim=(0, 1), ylim=(0, 1.02))
    ax.legend(loc="lower right")
    script = f'<script type="application/json">{json.dumps(data, separators=(",", ":"))}</script>'
    alt = (
        f"{n} thin curves of the message to the parent against the belief in the children, each from another rule "
        "table, fan out around their mean; the annealed curve F(p) lies on the mean."
    )
    return Drawing(fig, alt, f'<div class="live-stage" data-live="cloud">{script}</div>')


def in_standard_errors(deviations: Mapping[str, float]) -> Drawing:
    """One dot a derived average: its deviation from the sampled one, over the band of 95 %."""
    fig, ax = plt.subplots(figsize=(style.WIDTH, 0.9 + 0.19 * len(deviations)))
    rows = np.arange(len(deviations))[::-1]
    ax.axvspan(-1.96, 1.96, color=style.CHANCE, alpha=0.15, linewidth=0)
    ax.axvline(0, color=style.INK, linewidth=0.8)
    style.data(ax, list(deviations.values()), rows, color=style.palette(2)[0])
    ax.set_yticks(rows, deviations)
    ax.set(xlim=(-5, 5), xlabel="(sampled - derived) / standard error")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    alt = "One dot for each derived average; nearly all lie in the band of two standard errors around zero."
    return Drawing(fig, alt)


def cost_of_averaging(
    points: Sequence[float], found: Mapping[int, Interval], p: Sequence[float], theory: Mapping[int, np.ndarray]
) -> Drawing:
    """By how much the mean message exceeds the annealed one, relative to it.

    Args:
        points: (P,) beliefs of the children. found: by number of rules, (P,) sampled.
        p: (Q,) beliefs of the children. theory: by number of rules, (Q,) to second order.
    """
    fig, ax = plt.subplots()
    for (m, each), colour in zip(found.items(), style.palette(max(1, len(found) - 1))):
        style.theory(ax, p, 100 * theory[m], color=colour, label=f"$m={m}$")
        style.data(ax, points, Interval(*(100 * z for z in each)), color=colour)
    ax.axhline(0, color=style.INK, linewidth=0.8)
    ax.set(xlabel="belief $p$ in each true child", ylabel="error of averaging, % of the message", xlim=(0, 1))
    ax.legend(title="rules per symbol")
    alt = (
        f"The error of averaging against the belief p, for {len(found)} numbers of rules: humps of less than one per "
        "cent, zero at both ends, with points on the curves of the second-order formula."
    )
    return Drawing(fig, alt)


def single_messages(found: SingleMessages, m: int, nodes: int = 64) -> Drawing:
    """All messages of the first nodes of each level, and the two values of the mean field (figure 11 of the paper).

    Args:
        found: messages of one grammar at a few noises.
        m: its number of rules.
        nodes: how many are shown.
    """
    v, L, s = found.v, found.L, found.s
    rows = len(found.up[0])
    fig, axes = plt.subplots(
        rows, len(found.eps), figsize=(style.WIDTH, 1.35 * rows), sharey=True, sharex="row", squeeze=False
    )
    for column, (eps, levels) in enumerate(zip(found.eps, found.up)):
        p = meanfield.solve(eps, v=v, m=m, s=s, L=L).p
        for l, message in enumerate(levels):
            ax, shown = axes[rows - 1 - l, column], np.arange(min(nodes, len(message)))
            ax.plot(shown, message[shown], ".", color=style.CHANCE, markersize=2, alpha=0.5, rasterized=True)
            true = belief_in(message[None], found.truth[l][None])[0, shown]
            ax.plot(shown, true, ".", color=style.palette(L)[l], markersize=4, zorder=3)
            for y in (float(p[l]), (1 - float(p[l])) / (v - 1)):
                ax.axhline(y, color=style.INK, linewidth=1.2, zorder=2)
            ax.set(ylim=(-0.03, 1.03), xticks=[])
        axes[0, column].set_title(f"$\\varepsilon={eps}$")
        axes[-1, column].set_xlabel("node")
    for l in range(rows):
        axes[rows - 1 - l, 0].set_ylabel(f"level {l}")
    fig.supylabel("upward message", fontsize=10)
    alt = (
        f"Messages of single nodes at levels 0 to {rows - 1} for {len(found.eps)} noise levels. Coloured dots, the "
        "belief in the truth, scatter around an upper line, grey dots, all wrong symbols, lie low around a second "
        "one."
    )
    return Drawing(fig, alt)


def upward_curves(eps: np.ndarray, up: Interval, v: int, m: int, s: int, *, half: Interval) -> Drawing:
    """The upward belief in the truth against the noise, one curve a level (figure 12 of the paper).

    Args:
        eps: (T,) noises of the leaves. up: (T, L+1) by exact inference.
        v, m, s: of the grammars, for the mean field.
        half: where the class is half-way to chance; not finite where there is no such noise.
    """
    L = np.asarray(up.value).shape[1] - 1
    fig, ax = plt.subplots(figsize=(style.WIDTH, 4))
    smooth = np.linspace(0, 1, 300)
    theory = meanfield.solve(smooth, v=v, m=m, s=s, L=L).p
    for l, (colour, width) in enumerate(zip(style.palette(L), style.widths(L))):
        style.theory(ax, smooth, theory[:, l], color=colour, linewidth=width)
        style.data(ax, eps, up.at((slice(None), l)), color=colour, markersize=3)
    style.noise_ruler(ax, chance=1 / v, label=r"noise of the leaves $\varepsilon$", half=half)
    ax.set(ylabel=r"upward belief in the truth, $p_\ell$", xlim=(0, 1), ylim=(0, 1.02))
    style.level_bar(fig, ax, L)
    alt = (
        "The upward belief in the truth against the noise, one curve a level. The leaves fall in a straight line, "
        "higher levels ever more steeply; points of exact inference lie on the curves of the mean field."
    )
    return Drawing(fig, alt)
