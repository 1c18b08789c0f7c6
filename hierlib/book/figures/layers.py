"""Figures of layers: U-turns seen by a network, trained or as it was drawn, beside the levels of exact inference."""

import json
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.colors import to_hex
from numpy.typing import ArrayLike

from hierlib.book.figures.trees import ink_on
from hierlib.book.page import style
from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import palette
from hierlib.networks.layer_curves import Order, Read, cosines, likeness, student_interval

STOPS = np.linspace(0.4, 1, 25)  # of the live figure's slider
_LEADER = {"arrowstyle": "-", "lw": 0.7, "color": style.INK}


def orders(data: xr.Dataset, order: Order) -> Drawing:
    """Likeness of start and end of a U-turn in each layer, trained and untrained, beside the class.

    Args:
        data: from `hierlib.networks.layers.figure8`.
        order: of its trained networks; the crossing is named in the text for those who cannot see.
    """
    eps, names, kept = data.eps.values, [str(name) for name in data.layer.values], data.overlap.values[..., -1].mean(0)
    L, mean = (
        len(names) - 1,
        {w: np.asarray(student_interval(likeness(data, w)).value) for w in ("trained", "untrained")},
    )
    fig, axes = plt.subplots(1, 2, figsize=(6, 3.3), sharey=True)
    for ax, (weights, y) in zip(axes, mean.items()):
        ax.plot(eps, kept, ":", color=style.INK, lw=1.4)
        curves = zip(names, y.T, palette(L), style.widths(L))
        lines = [ax.plot(eps, curve, color=colour, lw=lw, label=name)[0] for name, curve, colour, lw in curves]
        ax.set(title=weights, xlabel=r"noise $\varepsilon$", xlim=(0.4, 1), ylim=(-0.03, 1.02))
    axes[0].set_ylabel("likeness of start and end")
    small = {"textcoords": "offset points", "fontsize": 9}
    axes[0].annotate("layer 1", (0.9, _at(eps, mean["trained"], 0.9)[0]), (5, 5), **small)
    axes[0].annotate("logits", (0.825, _at(eps, mean["trained"], 0.825)[-1]), (-6, -3), ha="right", **small)
    axes[1].annotate(
        "class kept\n(exact)", (0.74, _at(eps, kept, 0.74)), (0.86, 0.9), fontsize=9, va="center", arrowprops=_LEADER
    )
    style.label_lines(axes[1], [lines[0], lines[-1]], ["layer 1", "logits"])
    stops = {w: np.stack([np.interp(STOPS, eps, curve) for curve in y.T], 1) for w, y in mean.items()}
    alt = (
        f"Two panels of {len(names)} falling curves, one a layer. In the trained network the curves cross near a noise "
        f"of {order.crossing[0]:.2f}: before it the first layer is lowest, after it highest, and the logits follow the "
        "class. In the untrained network the first layer is highest throughout."
    )
    return Drawing(fig, alt, layers_html(STOPS, names, stops, np.interp(STOPS, eps, kept), start=8))


def figure8(
    data: xr.Dataset, again: xr.Dataset, orders: Mapping[str, Order], *, mean_field: float, infinite: float
) -> Drawing:
    """Figure 8 of the paper with intervals, and the first layer minus the logits.

    Args:
        data, again: from `hierlib.networks.layers.figure8`; of the second, which may have fewer noises, the squares.
        orders: `order_of_layers` of "trained", whose windows are shaded.
        mean_field: ε at which the theory of this depth is at half height; infinite: the threshold of a deep tree.
    """
    eps, names, order = data.eps.values, [str(name) for name in data.layer.values], orders["trained"]
    L, kept = len(names) - 1, data.overlap.values[..., -1].mean(0)
    fig, (ax, right) = plt.subplots(1, 2, figsize=(6, 3.6), width_ratios=[3, 2])
    y, lo, hi = map(np.asarray, student_interval(likeness(data, "trained")))
    squares = np.asarray(student_interval(likeness(again, "trained")).value)
    for k, (colour, width) in enumerate(zip(palette(L), style.widths(L))):
        ax.fill_between(eps, lo[:, k], hi[:, k], color=colour, alpha=0.18, lw=0)
        ax.plot(eps, y[:, k], color=colour, lw=width, label=names[k])
        style.data(ax, again.eps.values, squares[:, k], kind="network", color=colour, markersize=3)
    ax.plot(eps, kept, ":", color=style.INK, lw=1.4, label="_class")
    style.noise_ruler(ax, half=mean_field, chance=0, label=r"noise $\varepsilon$")
    star = {"color": style.CHANCE, "markersize": 9, "markerfacecolor": "white", "zorder": 6}
    ax.plot([infinite], [0.025], "*", transform=ax.get_xaxis_transform(), **star)
    ax.set(ylabel="likeness of start and end", xlim=(0.4, 1), ylim=(-0.05, 1.02))
    ax.annotate("layer 1", (0.9, _at(eps, y, 0.9)[0]), (6, 6), textcoords="offset points", fontsize=9)
    at_logits = 0.825, _at(eps, y, 0.825)[-1]
    ax.annotate("logits", at_logits, (0.72, 0.2), fontsize=9, ha="right", va="center", arrowprops=_LEADER)
    for weights, colour, line in (("trained", palette(L)[-1], "-"), ("untrained", style.INK, (0, (4, 2)))):
        height = likeness(data, weights)
        d, d_lo, d_hi = student_interval(height[..., 0] - height[..., -1])
        right.fill_between(eps, d_lo, d_hi, color=colour, alpha=0.25, lw=0)
        right.plot(eps, d, color=colour, lw=1.8, ls=line, label=weights)
    right.axhline(0, color=style.INK, lw=0.8)
    for side in (order.below, order.above):
        right.axvspan(side[0, 0], side[-1, 0], color=style.ERASED, lw=0, zorder=0)
    right.set(xlabel=r"noise $\varepsilon$", title="first layer minus logits", xlim=(0.4, 1))
    right.legend(loc="upper left", fontsize=9)
    alt = (
        f"Left, {len(names)} falling curves with narrow bands and squares on them; the logits are above the first "
        f"layer until a noise of {order.crossing[0]:.2f} and below it afterwards. Right, the difference of the first "
        "layer and the logits: negative and then positive when trained, positive throughout when untrained."
    )
    return Drawing(fig, alt)


def beside_levels(data: xr.Dataset) -> Drawing:
    """One panel a layer: the plain cosine beside the probability that a symbol of the level below is kept."""
    eps, names = data.eps.values, [str(name) for name in data.layer.values]
    L, curves, shown = len(names) - 1, student_interval(cosines(data, "trained")), eps >= 0.4
    level = data.overlap.values.mean(0)
    fig, axes = plt.subplots(2, -(-len(names) // 2), figsize=(6, 3.9), sharex=True, sharey=True)
    for k, ax in enumerate(axes.flat[: len(names)]):  # layer k + 1 beside level k; the logits beside the class
        ax.plot(eps, level[:, k], color=style.INK, lw=1.2)
        squares = curves.at(np.s_[shown, k])
        style.data(ax, eps[shown], squares, kind="network", color=palette(L)[k], markersize=3.2)
        ax.set_title(f"{names[k]} | { {0: 'leaves', L: 'class'}.get(k, f'level {k}') }", fontsize=9)
        ax.set(xlim=(0.4, 1), ylim=(-0.06, 1.03))
        ax.set_xticks([0.4, 0.6, 0.8, 1], ["0.4", "0.6", "0.8", "1"])
    fig.supxlabel(r"noise $\varepsilon$", fontsize=10)
    fig.supylabel("cosine | probability", fontsize=10)
    return Drawing(
        fig,
        f"{len(names)} small panels. In each, squares lie on a falling line until a noise of about 0.7, and somewhat "
        "below it afterwards; for the logits they lie above the line.",
    )


def probes(tables: Read) -> Drawing:
    """Four tables of layers against levels: which symbols a linear probe reads, before and after a U-turn."""
    L, end = tables.trained.shape[0] - 1, rf"end of a U-turn, $\varepsilon={tables.eps:g}$: "
    panels = {
        "trained": tables.trained,
        "untrained": tables.untrained,
        end + "its own": tables.own,
        end + "the start's": tables.start,
    }
    fig, axes = plt.subplots(2, 2, figsize=(6, 6.2), sharex=True, sharey=True)
    for ax, (title, values) in zip(axes.flat, panels.items()):
        picture = ax.imshow(values.T, origin="lower", vmin=0, vmax=1, cmap="Greys", aspect="auto")
        for k, level in np.ndindex(*values.shape):
            ink = ink_on(to_hex(picture.to_rgba(values[k, level])))
            ax.text(k, level, f"{100 * values[k, level]:.0f}", ha="center", va="center", fontsize=7.5, color=ink)
        ax.set_title(title, fontsize=9.5)
        ax.set_xticks(range(L + 1), [*range(1, L + 1), "logits"])
        ax.set_yticks(range(L + 1), ["leaves", *range(1, L), "class"])
        ax.tick_params(length=0)
    for ax in axes[1]:
        ax.set_xlabel("layer")
    for ax in axes[:, 0]:
        ax.set_ylabel(r"level $\ell$")
    return Drawing(
        fig,
        "Four tables of layers against levels, dark where symbols are read rightly. Trained: a dark diagonal band two "
        "levels high. Untrained: dark only in the lower left corner. After a U-turn the end's own symbols give the "
        "same band, the symbols of the start give a pale one.",
    )


def training(histories: Sequence[Sequence[float]], grammars: Sequence[int], *, chance: float) -> Drawing:
    """Errors on fresh data, pass by pass.

    Args:
        histories: of each network, the share of fresh data that it names wrongly after each pass; none counts as half
            an error in ten thousand.
        grammars: the number of each network's grammar, which is its colour.
        chance: the share that guessing names wrongly.
    """
    fig, ax = plt.subplots(figsize=(6, 2.7))
    for wrong, grammar in zip(histories, grammars, strict=True):
        colour = palette(7)[(0, 4, 7)[grammar % 3]]
        passes = range(1, len(wrong) + 1)
        ax.plot(passes, np.maximum(wrong, 5e-5), "-s", markersize=3, lw=1.2, color=colour)
    ax.axhline(chance, color=style.CHANCE, ls=":", lw=1.2)
    ax.set(yscale="log", xlabel="pass over the training set", ylabel="errors on fresh data", ylim=(3e-5, 1.5))
    ax.set_xticks(range(1, 1 + max(map(len, histories))))
    return Drawing(
        fig,
        "Error rates on a logarithmic axis against the number of passes: all stay near one for two or three passes, "
        "then fall to below one in a thousand within two more.",
    )


def _at(eps: np.ndarray, y: np.ndarray, noise: float) -> np.ndarray:
    return y[np.abs(eps - noise).argmin()]


def layers_html(
    eps: ArrayLike,
    names: Sequence[str],
    curves: Mapping[str, ArrayLike],
    kept: ArrayLike,
    start: int = 0,
    axis: tuple[str, str] = ("noise", "ε"),
) -> str:
    """The live figure (js/layers.js): one curve a layer, a switch of weights, a slider of noise.

    Args:
        eps: (T,) noises, increasing and evenly spaced, so that the slider stands under the axis: its stops.
        names: of the layers, first to last.
        curves: for "trained" and "untrained", (T, layers), how alike start and end of a U-turn are.
        kept: (T,) probability that the class is kept.
        start: the stop at which the slider stands first.
        axis: what the slider changes, as a word and as a symbol.
    """
    eps, kept = np.asarray(eps, float), np.asarray(kept, float)
    if len(eps) < 2 or not np.allclose(np.diff(eps), eps[1] - eps[0]) or eps[1] <= eps[0]:
        raise ValueError(f"eps: expected increasing, evenly spaced noises, got {eps.tolist()}")
    checked = {weights: np.asarray(curves[weights], float) for weights in ("trained", "untrained")}
    for weights, curve in checked.items():
        if curve.shape != (len(eps), len(names)) or not np.isfinite(curve).all():
            raise ValueError(f"{weights}: expected finite {(len(eps), len(names))} (noises, layers), got {curve.shape}")
    if kept.shape != eps.shape or not 0 <= start < len(eps):
        raise ValueError(f"expected kept of shape {eps.shape} and start among its stops, got {kept.shape} and {start}")
    data = {
        "eps": eps.round(4).tolist(),
        "names": list(names),
        "colours": palette(len(names) - 1),
        "kept": kept.round(4).tolist(),
        "curves": {weights: curve.T.round(4).tolist() for weights, curve in checked.items()},
        "start": start,
        "axis": list(axis),
    }
    return _MARKUP.format(data=json.dumps(data, separators=(",", ":")), axis=" ".join(axis))


_MARKUP = """<div class="live-stage" data-live="layers">
<script type="application/json">{data}</script>
<div class="live-controls" role="radiogroup" aria-label="weights of the network" style="margin:0 0 0.4rem 44px">
<label style="padding:0.5rem 0"><input type="radio" name="layers-weights" value="trained" checked> trained</label>
<label style="padding:0.5rem 0"><input type="radio" name="layers-weights" value="untrained"> untrained</label></div>
<div class="layers-picture" style="min-height:308px"></div>
<label class="live-range" style="margin:0 0 0 33px">
<input type="range" min="0" max="1" step="1" aria-label="{axis}"></label>
<p style="margin:0.3rem 0 0 44px;min-height:4.2em"><output style="font-weight:400"></output></p>
</div>"""
