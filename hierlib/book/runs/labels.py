"""The labels of the runs' own dimensions, lined up: which place each label of a run has among those of all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from hierlib._netcdf import WORDS, same
from hierlib.book.runs.errors import BadRequest

KINDS = {**dict.fromkeys("iuf", "numbers"), **dict.fromkeys(WORDS, "words"), "b": "booleans", "M": "times"}
KINDS |= {"m": "durations", "S": "bytes"}  #: what arrays hold, by numpy's letter
ULPS, SHARE = 8, 1e-9  # labels are one within so many units in the last place, or this share of the grid's step


@dataclass
class Axis:
    """A dimension of the runs: its size, its labels, None where it has none, and the places of each file's labels."""

    size: int
    labels: np.ndarray | None
    places: Mapping

    @classmethod
    def of(cls, d: str, seen: Mapping, notes: list[str]) -> "Axis":
        """Labels that are alike everywhere as they are; else their union, numbers that are one up to rounding as one.

        Args:
            seen: by (run, file) the variable of the labels, or the size where there are none.
            notes: hears of labels that are taken as one.

        Raises:
            BadRequest: there is more than one way to line them up, or none.
        """
        labels = {key: each.values for key, each in seen.items() if isinstance(each, xr.Variable)}
        bare = {key: np.arange(each) for key, each in seen.items() if key not in labels}
        if not labels:
            return cls(max(map(len, bare.values())), None, bare)
        if bare:
            (one, _), (other, _) = next(iter(labels)), next(iter(bare))
            raise BadRequest(f"{d} has labels in {one} and none in {other}; collect them apart, or label it in both")
        empty = {key: np.arange(0) for key, each in labels.items() if not len(each)}  # of whatever type
        labels = {key: each for key, each in labels.items() if key not in empty} or dict([next(iter(labels.items()))])
        if len(kinds := {kind(each): run for (run, _), each in labels.items()}) > 1:
            listed = " and ".join(f"{what} in {run}" for what, run in kinds.items())
            raise BadRequest(f"{d} is labelled by {listed}; label it by one kind")
        first = next(iter(labels.values()))
        if all(same(first, each) for each in labels.values()):
            return cls(len(first), first, dict.fromkeys(labels, np.arange(len(first))) | empty)
        for (run, _), each in labels.items():
            if len(set(each.tolist())) < len(each) or missing(each).any():
                raise BadRequest(
                    f"{d}: labels of {run} stand twice or are missing, and others have other labels; name each once"
                )
        union = _words if kind(first) == "words" else _numbers
        found, places = union(d, labels, notes)
        return cls(len(found), found, places | empty)


def _words(d: str, labels: Mapping, notes: list[str]) -> tuple[np.ndarray, dict]:
    """All words in the order of their first appearance, and the place of each."""
    index: dict[str, int] = {}
    places = {key: np.array([index.setdefault(x, len(index)) for x in each.tolist()]) for key, each in labels.items()}
    return np.array(list(index), object), places


def _numbers(d: str, labels: Mapping, notes: list[str]) -> tuple[np.ndarray, dict]:
    """All numbers or times, sorted, and the place of each."""
    whole = promoted(labels.values(), f"the labels of {d}")
    every = np.unique(np.concatenate([each.astype(whole) for each in labels.values()]))
    of = _rounded(d, every, labels) if whole.kind == "f" else np.arange(len(every))
    groups = [every[of == i] for i in range(of[-1] + 1)]
    if merged := [group for group in groups if len(group) > 1]:
        some = "; ".join(" and ".join(map(repr, group.tolist())) for group in merged[:3])
        notes.append(f"{d}: {len(merged)} labels differ between runs by rounding only, and are taken as one: {some}")
    kept = np.array([min(group, key=lambda x: len(repr(x))) for group in groups], whole)
    return kept, {key: of[np.searchsorted(every, each.astype(whole))] for key, each in labels.items()}


def _rounded(d: str, every: np.ndarray, labels: Mapping) -> np.ndarray:
    """Of each of the sorted labels the number of the group that it is in; no two labels of one run are in one.

    Two labels are one if they differ by a few units in the last place of the coarser type, or, as about zero these are
    nothing, by a tiny share of the step of an even grid.
    """
    last, near, step = np.zeros(len(every)), np.full(len(every), np.inf), np.full(len(every), np.inf)
    for each in labels.values():
        own = np.sort(each[np.isfinite(each)]).astype(every.dtype)
        at = np.searchsorted(every, own)
        if each.dtype.kind == "f":
            last[at] = np.maximum(last[at], ULPS * np.finfo(each.dtype).eps * np.abs(own))
        gaps = np.diff(own)
        near[at] = np.minimum(near[at], np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf)))
        even = np.zeros(len(own))
        if len(gaps) > 1:
            alike = np.abs(np.diff(gaps)) < 1e-6 * gaps[1:]
            even[1:-1] = np.where(alike, gaps[1:], 0)
            even[[0, -1]] = even[[1, -2]]
        step[at] = np.minimum(step[at], even)
    of, start = np.zeros(len(every), int), 0
    for i in range(1, len(every)):
        share = SHARE * min(step[i], step[start])
        room = min(max(last[i], last[start], share), min(near[i], near[start]) / 2)
        if every[i] - every[start] > room:
            start = i
        of[i] = of[i - 1] + (start == i)
    for (run, _), each in labels.items():
        own = of[np.searchsorted(every, each.astype(every.dtype))]
        if len(set(own.tolist())) < len(own):
            raise BadRequest(
                f"{d}: labels of {run} are nearly equal, and others have one that may be either; round them in the runs"
            )
    return of


def kind(values: np.ndarray | xr.Variable) -> str:
    """What an array holds, in a word."""
    return KINDS[values.dtype.kind]


def promoted(arrays: Iterable[np.ndarray | xr.Variable], what: str, *also: DTypeLike) -> np.dtype:
    """The type that holds the values of all arrays, and of types `also`, unchanged.

    Raises:
        BadRequest: there is none, as for whole numbers beyond 2**53 beside fractions.
    """
    arrays = list(arrays)
    whole = np.result_type(*(each.dtype for each in arrays), *also)
    for each in arrays:
        with np.errstate(invalid="ignore"):
            back = each.astype(whole).astype(each.dtype)
        if each.dtype.kind in "iu" and not (back == each).all():
            wide = np.asarray(each)[back != each].flat[0]
            raise BadRequest(f"{what}: {wide} does not fit in {whole} without a change")
    return whole


def missing(values: np.ndarray) -> np.ndarray:
    """Where there is nan, or NaT."""
    return np.isnat(values) if values.dtype.kind in "mM" else values != values
