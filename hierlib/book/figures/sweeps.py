"""Figures of sweeps: how long one takes on many workers, and what one has found."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from hierlib.book.page import style
from hierlib.book.page.glue import Drawing
from hierlib.book.page.scale import Scaled, closed_form


def time_of_a_sweep(
    workers: Sequence[int], simulated: Mapping[int, Sequence[Scaled]], *, points: int, mean: float, dispatch: float
) -> Drawing:
    """Minutes of a sweep against workers: the simulation as markers, the closed form as lines.

    Args:
        workers: numbers of workers.
        simulated: for each number of points a task, the simulation with each number of workers.
        points: of the sweep; mean: seconds a point on its worker; dispatch: seconds that the scheduler takes a task.
    """
    line = np.geomspace(1, 1000, 200)
    fig, ax = plt.subplots(figsize=(6, 3.4))
    colours = style.palette(10)
    for (size, runs), marker, colour in zip(
        simulated.items(), "os^v", (colours[0], colours[10], colours[5], style.INK)
    ):
        style.theory(ax, line, closed_form(points, mean, line, dispatch=dispatch, batch=size) / 60, color=colour)
        name = "one point a task" if size == 1 else f"{size} points a task"
        ax.plot(workers, [run.seconds / 60 for run in runs], marker, color=colour, label=name)
    ax.set(xscale="log", yscale="log", xlabel="workers $W$", ylabel="time of the sweep, min")
    ax.legend()
    return Drawing(
        fig,
        "Time of a sweep against the number of workers, on logarithmic axes. Both curves fall in proportion at first; "
        "with one point a task the time stops falling at a floor that the scheduler sets, with batches it falls "
        "further.",
    )


def swept(data: xr.Dataset) -> Drawing:
    """Thresholds of a swept phase diagram against the rules per symbol, seeds side by side, on the mean field.

    Args:
        data: of `hierlib collect`, at one criterion: `threshold`, `low`, `high`, `mean_field` over m and seed.
    """
    fig, ax = plt.subplots(figsize=(6, 3.2))
    style.theory(ax, data["m"], data["mean_field"].isel(seed=0), color=style.palette(10)[10], label="mean field")
    for seed in data["seed"].values:
        low, high = (data[k].sel(seed=seed) for k in ("low", "high"))
        style.data(ax, data["m"] + 0.08 * (seed - 1), data["threshold"].sel(seed=seed), (low, high), color=style.INK)
    ax.set(xlabel="rules per symbol $m$", ylabel=r"noise of the leaves $\varepsilon$ at half height", ylim=(0, 1))
    ax.set_xticks(data["m"].values)
    return Drawing(
        fig,
        "The noise at which the class is at half height, falling with the number of rules; points of "
        f"{data.sizes['seed']} seeds on the line of the mean field.",
    )
