"""Figures of sweeps, drawn from numbers that are made up."""

import numpy as np
import xarray as xr

from hierlib.book.figures import sweeps
from hierlib.book.page import scale


def test_markers_are_the_simulation_and_lines_the_closed_form():
    crews, seconds = [1, 10], np.ones(60)
    found = {size: [scale.simulate(seconds, w, dispatch=0.1, batch=size) for w in crews] for size in (1, 6)}
    (ax,) = sweeps.time_of_a_sweep(crews, found, points=60, mean=1.0, dispatch=0.1).fig.axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one point a task", "6 points a task"]
    line, marks = ax.lines[:2]
    assert line.get_ydata()[0] == 1.0 and marks.get_ydata().tolist() == [x.seconds / 60 for x in found[1]]


def test_seeds_stand_side_by_side():
    m, seed = [2, 4, 6], [0, 1, 2]
    threshold = xr.DataArray(np.tile([0.9, 0.7, 0.4], (3, 1)).T, coords={"m": m, "seed": seed}, dims=("m", "seed"))
    ends = {"low": threshold - 0.1, "high": threshold + 0.1}
    data = xr.Dataset({"threshold": threshold, **ends, "mean_field": threshold})
    drawing = sweeps.swept(data)
    (ax,) = drawing.fig.axes
    points = [np.asarray(line.get_xdata(), float) for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points, [[1.92, 3.92, 5.92], [2, 4, 6], [2.08, 4.08, 6.08]])
    assert "3 seeds" in drawing.alt and ax.get_ylim() == (0, 1)
