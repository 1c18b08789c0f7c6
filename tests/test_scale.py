"""The simulation of a sweep on many workers, against its closed form."""

import numpy as np
import pytest

from hierlib.book.page.scale import closed_form, simulate


def test_the_simulation_has_its_limits():
    """Ample dispatch: the work over the workers; scarce: the dispatcher's time; in between neither is beaten."""
    seconds = np.random.default_rng(0).uniform(0.5, 1.5, size=4000)
    for workers, dispatch, batch in ((1, 0.0, 1), (10, 1e-6, 1), (10, 1.0, 1), (100, 0.05, 10), (40, 0.025, 1)):
        found = simulate(seconds, workers, dispatch=dispatch, batch=batch)
        expected = float(closed_form(4000, seconds.mean(), workers, dispatch=dispatch, batch=batch))
        slack = dispatch + batch * 1.5 * 2  # the first task is waited for, and the last one
        assert expected * 0.999 <= found.seconds <= expected * 1.12 + slack
        assert 0 < found.busy < 1 + 1e-9 and 0 <= found.dispatching < 1 + 1e-9
    one = simulate(seconds, 1, dispatch=0.0, overhead=0.25)
    assert one.seconds == pytest.approx(seconds.sum() + 1000) and one.busy == pytest.approx(1)
