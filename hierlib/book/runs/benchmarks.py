"""The results of benchmarks/ for a page: where they are, what made them, and the power laws fitted to them."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from hierlib.book.runs.checkout import find_checkout


class PowerLaw(NamedTuple):
    """y = factor · x^exponent, fitted by least squares to the logarithms."""

    exponent: float
    lo: float  #: 95 % interval of the exponent
    hi: float
    factor: float

    def __call__(self, x: ArrayLike) -> np.ndarray:
        """The value of the power law at x."""
        return self.factor * np.asarray(x, float) ** self.exponent

    def __str__(self) -> str:
        return f"{self.exponent:.3f} [{self.lo:.3f}, {self.hi:.3f}]"


def power_law(x: ArrayLike, y: ArrayLike) -> PowerLaw:
    """Fit y = a·x^b on logarithmic axes; the interval is Student's, of the scatter of the points around the line.

    Args:
        x, y: at least three positive numbers each, not all x the same.

    Raises:
        ValueError: there are fewer, or others.

    >>> round(power_law([1, 2, 4], [3, 6, 12]).exponent, 6)
    1.0
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 3 or not ((x > 0) & (y > 0)).all() or np.ptp(x) == 0:
        raise ValueError(f"x, y: expected at least three positive numbers each, got {x.tolist()} and {y.tolist()}")
    line = stats.linregress(np.log(x), np.log(y))
    reach = stats.t.ppf(0.975, len(x) - 2) * line.stderr
    slope = float(line.slope)
    return PowerLaw(slope, slope - float(reach), slope + float(reach), float(np.exp(line.intercept)))


def results(name: str, root: Path | None = None) -> dict:
    """One result file of benchmarks/results, by its name with the suffix.

    The name must stand in the chapter's code as it is, for it makes the file part of what the run depends on.

    Args:
        root: the checkout; by default the one that holds the current folder.

    Raises:
        FileNotFoundError: there is no such file; the message says which command writes it.
    """
    path = (root or find_checkout()) / "benchmarks" / "results" / name
    if not path.is_file():
        script = path.with_suffix(".py").name
        raise FileNotFoundError(f"no benchmarks/results/{name}: python benchmarks/{script} writes it")
    return json.loads(path.read_text("utf-8"))


def messages_per_datum(*, v: int, m: int, s: int, L: int) -> tuple[int, int]:
    """How many messages one pass up and one down compute, and how many factors they multiply, (7, 8).

    Each of the (s^L - 1)/(s - 1) inner nodes gets a message from below and sends one to each of its s children.
    Every message is a sum over the v·m rules, of products of s factors.
    """
    inner = (s**L - 1) // (s - 1)
    messages = inner * (1 + s)
    return messages, messages * v * m * s


EXPONENTS = {"d": "d", "m": "v·m·s", "v": "v·m·s", "s": "v·m·s"}  # what the time grows with along each axis


def exponent(rows: list[dict], axis: str) -> PowerLaw:
    """The exponent along an axis of scaling.json: of the time a datum in d, or of the time a message in v·m·s.

    Args:
        rows: result["time"][axis]; medians are fitted.
    """
    time = np.array([row["microseconds_per_datum"]["median"] for row in rows])
    if axis == "d":
        return power_law([row["leaves"] for row in rows], time)
    messages, factors = (np.array([row[key] for row in rows]) for key in ("messages", "factors"))
    return power_law(factors / messages, time / messages)
