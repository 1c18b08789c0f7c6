"""One dataset of many runs: nothing is narrowed, renamed, dropped or merged without a word."""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from hierlib.book.page.results import MADE
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.labels import KINDS, ULPS, Axis, kind, promoted

CELLS = 2 * 10**8  # numbers of one variable; 1.6 GB
SECONDS = "seconds"  # how long a run took
OURS = ("commits", "runs")  # attributes that `collect` adds to those of the runs


@dataclass
class Part:
    """One run: the name of its folder, its parameters, its datasets by the names of their files, and its answers."""

    name: str
    values: Mapping
    files: dict[str, xr.Dataset]
    own: dict[str, object] = field(default_factory=dict)  #: numbers, words and truth values about the run


@dataclass
class _Variable:
    """The arrays of one name: of each run its file and what that holds."""

    arrays: dict[str, tuple[str, xr.Variable]] = field(default_factory=dict)
    coordinate: bool = False


def join(parts: Sequence[Part]) -> tuple[xr.Dataset, list[str]]:
    """The dataset of all runs, and what a reader must know of how it differs from theirs, a line each.

    The dimensions are the parameters that vary, then those of the runs. Where a point is missing, numbers are nan
    (whole numbers and truth values are floats then), words empty, times NaT.

    Raises:
        BadRequest: they cannot be lined up without changing something; says what, and in which run.
    """
    names = set(parts[0].values)
    if bad := next((p for p in parts if set(p.values) != names), None):
        raise BadRequest(f"{bad.name} has other parameters than {parts[0].name}; collect them apart")
    values = {name: sorted({p.values[name] for p in parts}) for name in parts[0].values}
    swept = {name: found for name, found in values.items() if len(found) > 1}
    notes = [note for name, found in swept.items() if (note := _nearly_equal(name, found))]
    seen = _dimensions(parts)
    if both := sorted(set(seen) & names):
        raise BadRequest(f"the runs have a dimension {both[0]!r} and a parameter of that name; rename one")
    axes = {d: Axis.of(d, labels, notes) for d, labels in seen.items()}
    found = _of_one_kind(_variables(parts, {*swept, *axes}, notes), notes)
    table = _Table({name: {x: i for i, x in enumerate(xs)} for name, xs in swept.items()}, axes, parts, notes)
    variables = {name: table.fill(name, variable) for name, variable in found.items()}
    labels = {
        d: (
            d,
            axis.labels,
            _common(d, [each.attrs for each in seen[d].values() if isinstance(each, xr.Variable)], notes),
        )
        for d, axis in axes.items()
        if axis.labels is not None
    }
    fixed = {name: each[0] for name, each in values.items() if len(each) == 1}
    data = xr.Dataset(variables, {**swept, **labels}, {**_about(parts, notes), "parameters": json.dumps(fixed)})
    return data.set_coords([name for name, each in found.items() if each.coordinate]), notes + table.blanks()


def _dimensions(parts: Sequence[Part]) -> dict[str, dict[tuple[str, str], xr.Variable | int]]:
    """The runs' own dimensions, in order: of each run and file its labels, or its size where it has none."""
    found: dict[str, dict] = {}
    for part in parts:
        for stem, data in part.files.items():
            for d, size in data.sizes.items():
                labels = data.variables.get(d)
                found.setdefault(str(d), {})[part.name, stem] = size if labels is None else labels
    return found


def _variables(parts: Sequence[Part], taken: set[str], notes: list[str]) -> dict[str, _Variable]:
    """All variables by name. A name bears that of its file before it where the runs have several files, or where it is
    `taken`, by a label or by how long the run took."""
    several = len({stem for part in parts for stem in part.files}) > 1
    found: dict[str, _Variable] = {}
    renamed: dict[str, str] = {}

    def put(name: str, run: str, stem: str, array: xr.Variable, coordinate: bool) -> None:
        variable = found.setdefault(name, _Variable(coordinate=coordinate))
        if run in variable.arrays or variable.coordinate != coordinate:
            raise BadRequest(f"{name} is two things in {run} or beside it; give one of them another name")
        variable.arrays[run] = (stem, array)

    for part in parts:
        for stem, data in part.files.items():
            for name in (str(n) for n in data.variables if n not in data.sizes):
                full = f"{stem}:{name}" if several or name in taken or name == SECONDS else name
                if full != name and not several:
                    renamed[name] = full
                put(full, part.name, stem, data.variables[name], name in data.coords)
        for name, value in part.own.items():
            if name in taken:
                renamed["the run's seconds" if name == SECONDS else name] = f"run:{name}"
            put(f"run:{name}" if name in taken else name, part.name, "", xr.Variable((), value), False)
    notes += ["the runs have several files, and names bear that of their file before them"] if several else []
    notes += [f"{name} is called {full}, as there is another {full.split(':', 1)[1]}" for name, full in renamed.items()]
    return found


def _of_one_kind(found: dict[str, _Variable], notes: list[str]) -> dict[str, _Variable]:
    """Words that some runs have where others have numbers become a variable of their own."""
    out: dict[str, _Variable] = {}
    for name, variable in found.items():
        kinds = {run: kind(array) for run, (_, array) in variable.arrays.items() if array.size}
        first, *others = [k for k in dict.fromkeys(KINDS.values()) if k in kinds.values()] or [""]
        for each in (first, *others):
            own = {run: array for run, array in variable.arrays.items() if kinds.get(run, first) == each}
            full = name if each == first else f"{name}:{each}"
            if full in out or (full in found and full != name):
                raise BadRequest(f"{name} holds {first} and {each}, and there is a {full}; give one another name")
            out[full] = _Variable(own, variable.coordinate)
            if each != first:
                notes.append(f"{name} holds {first} in some runs and {each} in others; these are called {full}")
    return out


def _nearly_equal(name: str, values: list) -> str | None:
    pairs = itertools.pairwise(values if isinstance(values[0], float) else ())
    close = [(a, b) for a, b in pairs if b - a <= ULPS * math.ulp(max(-a, b))]
    return f"{name}: {close[0][0]!r} and {close[0][1]!r} are nearly equal; each is a label" if close else None


def _about(parts: Sequence[Part], notes: list[str]) -> dict:
    """What the runs say of their datasets, but for what `book.save` has added."""
    about: dict[str, list[dict]] = {}
    for part in parts:
        for stem, data in part.files.items():
            about.setdefault(stem, []).append({k: v for k, v in data.attrs.items() if k not in MADE})
    common = {stem: _common(stem, each, notes) for stem, each in about.items()}
    return {
        f"{stem}:{k}" if len(about) > 1 or k in OURS else k: v for stem, each in common.items() for k, v in each.items()
    }


def _common(name: str, attributes: Iterable[Mapping], notes: list[str]) -> dict:
    """The attributes that all have alike."""
    first, *others = attributes
    differ = {k for each in others for k in {**first, **each} if not _alike(first.get(k), each.get(k))}
    if "units" in differ:
        units = dict.fromkeys(repr(each.get("units")) for each in (first, *others))
        raise BadRequest(
            f"{name} has the units {', '.join(units)}; collect runs of one unit, or convert them in the runs"
        )
    if differ:
        notes.append(f"{name}: the attributes {', '.join(sorted(differ))} differ between runs, and are left out")
    return {k: v for k, v in first.items() if k not in differ}


def _alike(a: object, b: object) -> bool:
    x, y = np.asarray(a), np.asarray(b)
    return x.shape == y.shape and x.dtype.kind == y.dtype.kind and bool(np.all((x == y) | ((x != x) & (y != y))))


class _Table:
    """Fills one array a variable.

    Args:
        places: of each parameter that varies, the place of each value.
        axes: the runs' own dimensions.
    """

    def __init__(self, places: dict[str, dict], axes: dict[str, Axis], parts: Sequence[Part], notes: list[str]):
        self.places, self.axes, self.notes = places, axes, notes
        self.at = {p.name: [[each[p.values[name]]] for name, each in places.items()] for p in parts}
        self.missing: dict[str, list[str]] = {}  # names, by what stands where a point is missing

    def fill(self, name: str, variable: _Variable) -> tuple:
        """Dimensions, values and attributes."""
        (one, (_, first)), *_ = variable.arrays.items()
        for run, (_, array) in variable.arrays.items():
            if set(array.dims) != set(first.dims):
                raise BadRequest(
                    f"{name} has the dimensions {first.dims} in {one} and {array.dims} in {run}; collect them apart"
                )
        attributes = _common(name, [array.attrs for _, array in variable.arrays.values()], self.notes)
        shape = [*map(len, self.places.values()), *(self.axes[str(d)].size for d in first.dims)]
        if math.prod(shape) > CELLS:
            raise BadRequest(f"{name} would have {math.prod(shape):,} numbers; collect fewer runs at once")
        whole = math.prod(shape) == sum(array.size for _, array in variable.arrays.values())
        arrays = [np.asarray(array.values) for _, array in variable.arrays.values() if array.size]
        table = self._blank(name, shape, arrays, whole)
        for run, (stem, array) in variable.arrays.items():
            at = [*self.at[run], *(self.axes[str(d)].places[run, stem] for d in first.dims)]
            table[np.ix_(*at)] = np.asarray(array.transpose(*first.dims).values).reshape([len(i) for i in at])
        return (*self.places, *first.dims), table, attributes

    def _blank(self, name: str, shape: list[int], arrays: list[np.ndarray], whole: bool) -> np.ndarray:
        """The table before it is filled: what stands where a point is missing, in a type that holds all values."""
        what = kind(arrays[0]) if arrays else "numbers"
        if what == "words":
            table, said = np.full(shape, "", object), "empty"
        elif what == "bytes":
            table, said = np.full(shape, b"", np.result_type(*arrays)), "empty"
        elif what in ("times", "durations"):
            dtype = np.result_type(*arrays)
            table, said = np.full(shape, np.array("NaT", dtype), dtype), "NaT"
        elif whole:
            table, said = np.zeros(shape, promoted(arrays, name) if arrays else float), ""
        else:
            table = np.full(shape, np.nan, promoted(arrays, f"{name}, of which some points are missing,", np.float32))
            said = "nan" if "f" in {each.dtype.kind for each in arrays} else f"nan, and the {what} there are floats"
        if not whole:
            self.missing.setdefault(said, []).append(name)
        return table

    def blanks(self) -> list[str]:
        """What stands where a point is missing, or an array is shorter than in other runs."""
        return [
            f"where a point is missing or shorter, it is {said}: {', '.join(n)}" for said, n in self.missing.items()
        ]
