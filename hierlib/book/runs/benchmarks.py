"""The results of benchmarks/ for a page: where they are, what made them, what they say; and a small one made now."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import stats
from scipy.optimize import nnls

from hierlib.book.runs.checkout import find_checkout
from hierlib.grammar import random_grammar
from hierlib.inference import infer
from hierlib.noise import GaussianNoise, epsilon_evidence
from hierlib.sampling import sample


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


def spread(rows: Sequence[Mapping]) -> np.ndarray:
    """Microseconds a datum of points of scaling.json: median, least and most over the rounds, (3, points)."""
    return np.array([[row["microseconds_per_datum"][k] for k in ("median", "min", "max")] for row in rows]).T


class SymbolsAndFactors(NamedTuple):
    """Nanoseconds a message = per_symbol · v + per_factor · v·m·s, least squares of the relative error."""

    per_symbol: float
    per_factor: float
    factors: np.ndarray  #: (points,) v·m·s of the points that were fitted
    error: float  #: median relative error at them


def symbols_and_factors(rows: Mapping[str, Sequence[Mapping]]) -> SymbolsAndFactors:
    """Fit the two rates to the points of scaling.json that vary m, v and s."""
    points = [row for axis in "mvs" for row in rows[axis]]
    messages, all_factors = (np.array([row[key] for row in points]) for key in ("messages", "factors"))
    factors, v = all_factors / messages, np.array([row["parameters"]["v"] for row in points])
    time = 1000 * spread(points)[0] / messages
    (per_symbol, per_factor), _ = nnls(np.column_stack([v, factors]) / time[:, None], np.ones(len(time)))
    error = np.median(abs((per_symbol * v + per_factor * factors) / time - 1))
    return SymbolsAndFactors(float(per_symbol), float(per_factor), factors, float(error))


class Goal(NamedTuple):
    """What was wanted of a number, and what it came to."""

    value: float | None  #: None: not measured
    least: float | None = None
    most: float | None = None
    unit: str = "{:.3g}"  #: how the value is shown

    @property
    def short(self) -> float:
        """By which factor it is missed; at most 1 if it is reached, nan if it is not measured."""
        value = math.nan if self.value is None else self.value
        return self.least / value if self.least else value / self.most if self.most else math.nan

    def __str__(self) -> str:
        if self.value is None:
            return "not measured"
        word = "reached" if self.short <= 1 else f"missed, by a factor of {self.short:.2f}"
        return f"{self.unit.format(self.value)}: {word}"


MARGINALS = "infer, marginals only"  # the row of cpu.json that all else is compared with


def contenders(files: Mapping[str, Mapping], title: str) -> dict[str, tuple[float, float]]:
    """Of one size of tree: by name the microseconds a datum, and how many times slower than hierlib that is.

    Args:
        files: `results` of "peers", "cpu" and "roofline"; the last two know more of the size called "paper".
    """
    found = files["peers"]["cases"][title]["contenders"]
    ratios = {name: row["times_slower_than_hierlib"] for name, row in found.items() if "failed" not in row}
    own = found["hierlib"]["microseconds_per_datum"]["median"]
    if title == "paper":
        paper = files["cpu"]["cases"]["paper"]
        own, fast = paper["microseconds_per_datum"][MARGINALS]["median"], paper["times_faster_than_authors"]
        ratios["hierlib, plain torch"] = fast[MARGINALS] / fast["infer, plain torch"]
        ratios["the authors' code"] = fast[MARGINALS]
        ratios["the limit of this machine"] = 1 / files["roofline"]["cases"]["paper"]["times_the_limit"]
    return {name: (own * ratio, ratio) for name, ratio in ratios.items()}


def contenders_by_size(files: Mapping[str, Mapping]) -> dict[str, dict[str, tuple[float, float]]]:
    """The `contenders` of every size of tree, by its parameters in words, the one with most beliefs first."""
    sizes = {title: case["parameters"] for title, case in files["peers"]["cases"].items()}
    largest_first = sorted(sizes, key=lambda title: -(sizes[title]["s"] ** sizes[title]["L"]) * sizes[title]["v"])
    name = "$v={v}$, $m={m}$, $s={s}$, $L={L}$"
    return {name.format(**sizes[title]): contenders(files, title) for title in largest_first}


def largest_difference(result: Mapping) -> float:
    """Of the marginals that a result file has compared, in whichever case and contender; 0 where it compared none.

    >>> largest_difference({"a": {"largest_difference_of_marginals": 2e-7}, "b": {"failed": "not installed"}})
    2e-07
    """
    below = [largest_difference(part) for part in result.values() if isinstance(part, Mapping)]
    return max([result.get("largest_difference_of_marginals", 0.0), *below])


def authors_best(cpu: Mapping) -> Mapping[str, float]:
    """Microseconds a datum of the authors' code at the paper's size, at the batch that suits it best: median, min, max.

    Args:
        cpu: `results` of "cpu", where it is timed on many data at once and, maybe, one at a time in two ways.
    """
    paper, single = (cpu["cases"][title]["microseconds_per_datum"] for title in ("paper", "one datum"))
    tried = [paper["authors"], paper.get("authors, one at a time"), single.get("authors")]
    return min((row for row in tried if row), key=lambda row: row["median"])


def enough(rows: Sequence[Mapping]) -> int:
    """The smallest batch whose median time a datum is at most twice the least, of points of scaling.json."""
    median = spread(rows)[0]
    return rows[int((median <= 2 * median.min()).argmax())]["parameters"]["batch"]


class Gain(NamedTuple):
    """What the compiled kernels save the chapters of the book."""

    torch: float  #: seconds of one core for all of them with plain torch
    cpu: float  #: the same, compiled
    most: tuple[float, str]  #: the largest factor, and the slug of its chapter
    least: tuple[float, str]


def gain(chapters: Mapping[str, Mapping[str, float]]) -> Gain:
    """Of result["chapters"] of book.json: by slug the seconds with either backend.

    >>> gain({"a": {"torch": 6.0, "cpu": 3.0}, "b": {"torch": 4.0, "cpu": 4.0}})
    Gain(torch=10.0, cpu=7.0, most=(2.0, 'a'), least=(1.0, 'b'))
    """
    before, after = (sum(row[key] for row in chapters.values()) for key in ("torch", "cpu"))
    factors = sorted((row["torch"] / row["cpu"], slug) for slug, row in chapters.items())
    return Gain(before, after, factors[-1], factors[0])


class Live(NamedTuple):
    """Times of both backends on trees of growing depth, measured here and now."""

    leaves: np.ndarray  #: (n,)
    microseconds: dict[str, list[float]]  #: by backend, (n,), for the marginals of a datum
    noise: float  #: microseconds for Gaussian noise and its evidence, a datum of the deepest tree
    largest_difference: float  #: between the marginals of the backends


def time_backends(
    microseconds: Callable[[Callable[[], object], int], float],
    levels: Sequence[int],
    *,
    v: int,
    m: int,
    s: int,
    batch: int,
    generator: torch.Generator,
) -> Live:
    """Times marginals with the compiled kernels ("cpu") and with plain torch ("torch"), and Gaussian noise.

    Args:
        microseconds: the clock: takes a piece of work, which it may do often, and its number of data; time a datum.
        levels: of the trees, increasing.
        v, m, s: of the grammars.
        batch: data of the deepest tree in a call; of the others as many as have the same number of leaves.
        generator: of grammars, data and noise.
    """
    times: dict[str, list[float]] = {"cpu": [], "torch": []}
    differ = 0.0
    for depth in levels:
        g = random_grammar(v=v, m=m, s=s, L=depth, generator=generator)
        data = batch * s ** (levels[-1] - depth)
        e = epsilon_evidence(sample(g, data, generator=generator)[0], eps=0.5, v=v)
        found = {}
        for backend, spent in times.items():
            found[backend] = infer(g, e, messages=False, backend=backend).marginals
            spent.append(microseconds(partial(infer, g, e, messages=False, backend=backend), data))
        differ = max(differ, *(float((a - b).abs().max()) for a, b in zip(found["cpu"], found["torch"])))
    noise, x0 = GaussianNoise(v), sample(g, batch, generator=generator)[0]
    made = microseconds(lambda: noise.evidence(noise.corrupt(x0, 0.1, generator=generator), 0.1), batch)
    return Live(np.array([s**depth for depth in levels]), times, made, differ)


def goals(files: Mapping[str, Mapping]) -> dict[str, Goal]:
    """What was wanted before anything was measured, and what the result files say; see the table of the page."""
    cpu, paper = files["cpu"]["cases"], files["cpu"]["cases"]["paper"]
    faster = {title: case.get("times_faster_than_authors", {}) for title, case in cpu.items()}
    grown, two = paper.get("peak_memory_growth_MiB", {}), paper.get("two_times_one", {})
    steps = {step: row["median"] for step, row in files["scaling"]["noise"]["microseconds_per_datum"].items()}
    memory = grown["authors"] / grown[MARGINALS] if {"authors", MARGINALS} <= set(grown) else None
    return {
        "full": Goal(faster["paper"].get("infer"), least=300),
        "overlap": Goal(faster["paper"].get("ε evidence and overlaps"), least=500),
        "sampling": Goal(faster["paper"].get("posterior_sample"), least=100),
        "memory": Goal(memory, least=50, unit="1/{:.0f}"),
        "limit": Goal(files["roofline"]["cases"]["paper"]["times_the_limit"], most=3),
        "threads": Goal(two.get("infer", {}).get("threads"), least=1.7),
        "threads_marginals": Goal(two.get(MARGINALS, {}).get("threads"), least=1.7),
        "noise": Goal(paper.get("evidence_times_inference", {}).get("Gaussian"), most=2),
        "noise_marginals": Goal((steps["corrupt"] + steps["evidence"]) / steps["infer"], most=2),
        "one": Goal(faster.get("one datum", {}).get("infer"), least=50),
        "three": Goal(faster.get("three children", {}).get("infer"), least=250),
        "many": Goal(faster.get("many data", {}).get("infer"), least=200),
    }


def of_other_questions(files: Mapping[str, Mapping]) -> dict[str, str]:
    """What the next leaf, a round of pricing, uneven rules and the reader's browser take, by the key under which the
    page shows it; a case of the benchmarks goes by its first word."""
    shown: dict[str, str] = {}
    for case, told in files["next_leaf"]["cases"].items():
        uneven = {name: ratio["median"] for name, ratio in files["weights"]["cases"][case]["times_uniform"].items()}
        dearest, first = max(uneven, key=lambda name: uneven[name]), case.split()[0]
        shown |= {
            f"leaf-{first}": f"{told['times_infer']:.2f}",
            f"prefixes-{first}": about(told["times_faster_than_every_prefix"]),
            f"round-{first}": f"{told['price_a_round_times_infer']:.1f}",
            f"uneven-{first}": f"{uneven[MARGINALS]:.2f}",
            f"dearest-{first}": f"{uneven[dearest]:.2f} ({dearest.replace('_', ' ')})",
        }
    page = files["browser"]["cases"]["one datum"]
    tasks = files["browser"]["page_task_milliseconds"].values()
    here, python = (page[f"{where}_microseconds"] for where in ("browser", "hierlib"))
    return shown | {
        "page_datum": about(here[MARGINALS]["median"]),
        "page_hierlib": f"{here[MARGINALS]['median'] / python[MARGINALS]['median']:.1f}",
        "page_authors": about(page["times_faster_than_authors"]),
        "page_strata": f"{here['strata after a step of the slider']['median'] / 1e3:.1f}",
        "page_step": about(max(each["a_step"]["median"] for each in tasks)),
        "page_task": about(max(each["longest_task"] for each in tasks)),
        "page_figure": f"{max(files['browser']['figure_5_seconds'].values()):.1f}",
    }


def about(x: float) -> str:
    """A positive number to two or three digits, without an exponent.

    >>> about(783.6), about(29.44), about(1.234)
    ('784', '29', '1.2')
    """
    return f"{x:,.0f}" if x >= 99.5 else f"{x:.0f}" if x >= 9.95 else f"{x:.1f}"


def power_of_ten(x: float) -> str:
    """A small positive number to one digit.

    >>> power_of_ten(4.2e-7), power_of_ten(0.0)
    ('4 × 10⁻⁷', 'nothing')
    """
    digit, power = f"{x:.0e}".split("e")
    return f"{digit} × 10⁻" + "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(k)] for k in str(-int(power))) if x else "nothing"
