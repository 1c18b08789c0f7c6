"""What a chapter leaves behind for others: answers to claims, and the numbers behind its figures.

Both go into the folder of the run (records.json and data/). Where a chapter is not started by the runner,
say cell by cell in Jupyter, nothing is written.
"""

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hierlib import _yaml
from hierlib._files import write_text
from hierlib._provenance import commit, versions
from hierlib.book.page.intervals import one
from hierlib.book.page.stamp import run_facts, run_folder
from hierlib.experiments.curves import Interval

if TYPE_CHECKING:
    import xarray as xr

Plain = dict | list | float | str | None  # what JSON holds; True, False and whole numbers are floats to a type checker
MADE = ("chapter", "parameters", "seed", "versions", "commit", "key", "seconds")  # what `save` adds to the data


class Record(dict):
    """One answer; shows as one line."""

    def __repr__(self) -> str:
        between = f", 95 % interval {self['interval']}" if self.get("interval") else ""
        return f"{self['id']}: {self['value']}{between}"


def claims(root: Path | None = None) -> dict[str, dict]:
    """The rows of book/claims.yaml by id.

    Args:
        root: the checkout; by default the one that holds the current folder.

    Raises:
        ValueError: the file is no YAML or holds no rows, or two of them have one id.
    """
    here = Path.cwd()  # of a chapter that runs it is book/
    ledger = Path("book") / "claims.yaml"
    folders = [root] if root else [here, *here.parents]
    path = next((folder / ledger for folder in folders if (folder / ledger).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"no {ledger.as_posix()} in {folders[0]}{'' if root else ' or above it'}")
    rows = _yaml.load(path.read_text("utf-8"), ledger.as_posix())
    rows = rows.get("claims") if isinstance(rows, dict) else rows
    if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get("id"), str) for row in rows):
        raise _yaml.NotYaml(f"{ledger.as_posix()}: expected a list of rows, each with an id; write `- id: a-word`")
    found = {}
    for row in rows:
        if row["id"] in found:
            raise ValueError(f"{path.name}: the id {row['id']!r} stands twice")
        found[row["id"]] = row
    return found


def record(id: str, value: object, interval: Sequence[float] | None = None, *, optional: bool = False) -> Record | None:
    """Answers the row `id` of book/claims.yaml with what this run has found.

    Args:
        value: a finite number, True or False, a string, or a list of these; or an `Interval` with its own ends
                (which may just miss it: they come from resampling).
        interval: its 95 % interval (lo, hi), in the units of value.
        optional: whether there may be no answer at some parameters: a value that is None or not finite, or whose
            interval is not finite, is left out then, and None returned.

    Raises:
        ValueError: the id is not in the ledger or already answered in this run, or the value is not finite.
    """
    known = claims()
    if id not in known:
        near = [k for k in known if set(k.split("-")) & set(str(id).split("-"))]
        raise ValueError(f"no claim {id!r} in book/claims.yaml; near it: {', '.join(near[:5]) or 'none'}")
    if isinstance(value, Interval):
        value, interval = one(value)
    if optional and not _exists(value, *(interval if interval is not None else ())):
        return None
    answer = Record(id=id, value=plain(value), interval=None)
    if interval is not None:
        lo, hi = (float(x) for x in interval)
        if not (math.isfinite(lo) and math.isfinite(hi) and lo <= hi):
            raise ValueError(f"claim {id!r}: expected a finite interval (lo, hi) with lo <= hi, got {interval}")
        answer["interval"] = [lo, hi]
    folder = run_folder()
    if folder is not None:
        facts = run_facts()
        path = folder / "records.json"
        rows = json.loads(path.read_text("utf-8")) if path.exists() else []
        if any(row["id"] == id for row in rows):
            raise ValueError(f"claim {id!r} is answered twice in this run")
        rows.append({**answer, "chapter": facts["chapter"], "parameters": facts["parameters"]})
        _write(path, json.dumps(rows, indent=1))
    return answer


def save(name: str, data: "xr.Dataset | dict") -> Path | None:
    """Keeps the numbers behind a figure, with the parameters, versions, commit and seconds that made them.

    Args:
        name: file name without suffix: lower-case letters, digits and hyphens.
        data: an xarray.Dataset (written as netCDF) or a dict of numbers, strings and lists (as JSON).

    Returns:
        The file, or None outside a run.

    Raises:
        ValueError: the name is none or is taken, or the file would not hold just these data.
    """
    import xarray as xr

    from hierlib._netcdf import write as write_netcdf

    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(f"name: expected lower-case letters, digits and hyphens, got {name!r}")
    if not isinstance(data, xr.Dataset | dict):
        raise ValueError(f"{name}: expected an xarray.Dataset or a dict, got {type(data).__name__}")
    folder, facts = run_folder(), run_facts()
    made = {
        "chapter": facts.get("chapter", ""),
        "parameters": facts.get("parameters", {}),
        "seed": facts.get("parameters", {}).get("seed"),
        "versions": versions(),
        "commit": facts.get("commit") or commit(Path.cwd()),
        "key": facts.get("key", ""),
        "seconds": round(time.time() - facts.get("started", time.time()), 3),
    }
    text = "" if isinstance(data, xr.Dataset) else json.dumps({**made, "data": plain(data)}, indent=1)
    if folder is None:
        return None
    path = folder / "data" / f"{name}.{'nc' if isinstance(data, xr.Dataset) else 'json'}"
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        raise ValueError(f"{name}: saved twice in this run")
    if not isinstance(data, xr.Dataset):
        return _write(path, text)
    if taken := sorted(set(MADE) & set(data.attrs)):
        raise ValueError(f"{name}: the attribute {taken[0]!r} says what made the data; call yours by another name")
    attributes = {k: v if isinstance(v, str) else json.dumps(v) for k, v in made.items()}
    try:
        return write_netcdf(data.assign_attrs(attributes), path)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def records(answers: Mapping[str, object], *, optional: bool = False) -> None:
    """Answers many rows: by id what `record` takes as value, or a pair of it and its interval."""
    for id, answer in answers.items():
        value, interval = answer if isinstance(answer, tuple) and not isinstance(answer, Interval) else (answer, None)
        record(id, value, interval, optional=optional)


def _exists(*values: object) -> bool:
    return all(x is not None and (not hasattr(x, "__float__") or math.isfinite(x)) for x in values)


def is_number(x: object) -> bool:
    """Whether x is a finite int or float; True and False are none."""
    return isinstance(x, int | float) and not isinstance(x, bool) and (isinstance(x, int) or math.isfinite(x))


def plain(value: object) -> Plain:
    """Arrays, tensors and numpy scalars as Python's own numbers and lists.

    What is not finite, is masked or is a time is refused. The keys of a mapping become strings, as JSON has no others.
    """
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "kind", "") in ("m", "M", "V"):  # their tolist may be whole numbers
        raise ValueError(f"expected numbers, True or False, or strings, got {dtype}; write it as text")
    if isinstance(value, np.ma.MaskedArray) and value.mask.any():
        raise ValueError(f"expected numbers, got an array of which some are masked: {value!r}; leave these out")
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        found = {str(k): plain(v) for k, v in value.items()}
        if len(found) < len(value):
            raise ValueError(f"expected keys that differ as strings, got {list(value)}")
        return found
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int | float) and is_number(value):
        return value
    raise ValueError(f"expected finite numbers, True or False, strings, or lists of them, got {value!r}")


def _write(path: Path, text: str) -> Path:
    write_text(path, text + "\n")
    return path
