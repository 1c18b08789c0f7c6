"""An interval as a page shows it and a ledger keeps it."""

from numbers import Integral

from hierlib.experiments.curves import Interval


def one(found: Interval) -> tuple[float, tuple[float, float]]:
    """Of a single number the value and its interval, widened to hold it; whole numbers stay whole.

    >>> one(Interval(0.3, 0.31, 0.4))
    (0.3, (0.3, 0.4))
    """
    value, lo, hi = (int(x) if isinstance(x, Integral) else float(x) for x in found)
    return value, (min(lo, value), max(hi, value))
