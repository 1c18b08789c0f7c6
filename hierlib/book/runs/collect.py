"""All runs of one chapter or quantity in a folder, as one labelled xarray.Dataset."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from hierlib.book.page.results import is_number
from hierlib.book.runs.params import BadRequest
from hierlib.book.runs.run import checksums

CELLS = 2 * 10**8  # numbers of one variable; 1.6 GB


@dataclass
class Collected:
    """The dataset, and what is not in it."""

    data: xr.Dataset
    runs: int
    damaged: list[str] = field(default_factory=list)  #: folders whose files are not those of the run, and why
    older: int = 0  #: runs of an earlier state of the code, left out


def collect(folder: Path, of: str | None = None) -> Collected:
    """Reads every finished run below a folder; damaged ones are named and left out.

    The dimensions are the parameters that vary between the runs; points that are missing are nan. Variables are those
    of the datasets that the runs have saved, the answers to claims (`claim:id`), and the seconds that each took.

    Args:
        folder: what a sweep wrote to.
        of: the slug, needed where the folder holds runs of more than one.

    Raises:
        BadRequest: there is nothing to collect, or it does not fit into one array.
    """
    if not folder.is_dir():
        raise BadRequest(f"{folder} is no folder; name the one that a sweep has written to (--out)")
    damaged, found = [], []
    for path in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        if path.name.endswith("-failed") or not (path / "run.json").exists():
            continue
        try:
            found.append(_Run.read(path))
        except Exception as error:  # whatever a damaged file makes its reader raise
            damaged.append(f"{path.name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    slugs = sorted({run.facts["chapter"] for run in found})
    if of is not None:
        found = [run for run in found if run.facts["chapter"] == of]
    elif len(slugs) > 1:
        raise BadRequest(f"{folder} holds runs of {', '.join(slugs)}; say which by --of {slugs[0]}")
    if not found:
        more = f"; {len(damaged)} are damaged: {'; '.join(damaged[:5])}" if damaged else ""
        raise BadRequest(f"{folder} holds no finished run{f' of {of}' if of else ''}{more}; `hierlib sweep` makes some")
    newest = max(found, key=lambda run: run.facts["started"]).facts.get("code")
    now = [run for run in found if run.facts.get("code") == newest]
    return Collected(_join(now), len(now), damaged, len(found) - len(now))


@dataclass
class _Run:
    facts: dict
    values: Mapping
    data: dict[str, xr.DataArray]

    @classmethod
    def read(cls, folder: Path) -> "_Run":
        facts = json.loads((folder / "run.json").read_text("utf-8"))
        wanted, here = facts["files"], checksums(folder)
        for name in sorted(set(wanted) | set(here)):
            if wanted.get(name) != here.get(name):
                word = "is missing" if name not in here else "is not of the run" if name not in wanted else "is damaged"
                raise ValueError(f"{name} {word}")
        values = facts["parameters"]
        files, data = sorted(folder.glob("data/*.nc")), {}
        for path in files:
            with xr.open_dataset(path, engine="netcdf4") as source:
                loaded = source.load()
            _same(json.loads(loaded.attrs["parameters"]), values)
            prefix = "" if len(files) == 1 else f"{path.stem}:"
            data |= {f"{prefix}{name}": loaded[name] for name in loaded.data_vars}
        if (folder / "records.json").exists():
            for row in json.loads((folder / "records.json").read_text("utf-8")):
                _same(row["parameters"], values)
                if is_number(row["value"]):
                    data[f"claim:{row['id']}"] = xr.DataArray(float(row["value"]))
        data["seconds"] = xr.DataArray(float(facts["seconds"]))
        facts["started"] = float(facts["started"])
        return cls(facts, values, data)


def _same(parameters: Mapping, values: Mapping) -> None:
    """run.json has no checksum of its own: the labels that it gives must be those beside the data."""
    if parameters != values:
        raise ValueError("run.json has other parameters than the data")


def _join(runs: list[_Run]) -> xr.Dataset:
    names = list(runs[0].values)
    axes = {name: sorted({run.values[name] for run in runs}) for name in names}
    swept = {name: values for name, values in axes.items() if len(values) > 1}
    index = {name: {value: i for i, value in enumerate(values)} for name, values in swept.items()}
    inner = _inner(runs, set(names))
    variables = {}
    for name in dict.fromkeys(name for run in runs for name in run.data):
        arrays = [(run, run.data[name]) for run in runs if name in run.data]
        dims = arrays[0][1].dims
        if any(array.dims != dims for _, array in arrays):
            raise BadRequest(f"{name} has other dimensions in some runs than in others; collect them apart")
        shape = [len(v) for v in swept.values()] + [len(inner[d]) for d in dims]
        if math.prod(shape) > CELLS:
            raise BadRequest(f"{name} would have {math.prod(shape):,} numbers; collect fewer runs at once")
        whole = sum(array.size for _, array in arrays) == math.prod(shape)
        table = _blank(shape, arrays[0][1].dtype, whole)
        for run, array in arrays:
            own = [[inner[d][x] for x in _labels(array, d)] for d in dims]
            at = np.ix_(*([index[n][run.values[n]]] for n in swept), *own)
            table[at] = array.values.reshape(table[at].shape)
        variables[name] = ((*swept, *dims), table, arrays[0][1].attrs)
    coordinates = {**swept, **{d: list(labels) for d, labels in inner.items()}}
    fixed = {name: values[0] for name, values in axes.items() if len(values) == 1}
    attributes = {
        "chapter": runs[0].facts["chapter"],
        "parameters": json.dumps(fixed),
        "commits": json.dumps(sorted({run.facts["commit"] for run in runs})),
        "versions": json.dumps([json.loads(v) for v in sorted({json.dumps(run.facts["versions"]) for run in runs})]),
        "runs": len(runs),
    }
    return xr.Dataset(variables, coordinates, attributes)


def _blank(shape: list[int], dtype: np.dtype, whole: bool) -> np.ndarray:
    """A table to be filled: nan, or "" for words, where a point is missing."""
    if dtype.kind in "biu":
        return np.zeros(shape, dtype) if whole else np.full(shape, np.nan)
    return np.full(shape, np.nan, dtype) if dtype.kind == "f" else np.full(shape, "", object)


def _inner(runs: list[_Run], names: set[str]) -> dict[str, dict]:
    """The runs' own dimensions, each with the labels of all runs and their places."""
    labels: dict[str, dict] = {}
    for run in runs:
        for array in run.data.values():
            for d in array.dims:
                if d in names:
                    raise BadRequest(f"the runs have a dimension {d!r} and a parameter of that name; rename one")
                labels.setdefault(d, {}).update(dict.fromkeys(_labels(array, d)))
    ordered = {d: list(x) if any(isinstance(y, str) for y in x) else sorted(x) for d, x in labels.items()}
    return {d: {label: i for i, label in enumerate(x)} for d, x in ordered.items()}


def _labels(array: xr.DataArray, d: str) -> list:
    return array[d].values.tolist() if d in array.coords else list(range(array.sizes[d]))


def write(data: xr.Dataset, path: Path) -> None:
    """As netCDF, whole or not at all.

    Raises:
        BadRequest: it cannot be written there.
    """
    if not path.name or path.is_dir():
        raise BadRequest(f"{path} is a folder; name a file, say {path / 'all.nc'}")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.touch()
        try:
            data.to_netcdf(part, engine="netcdf4")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, RuntimeError, ValueError) as error:  # netCDF4 raises RuntimeError on a full disk
        raise BadRequest(f"{path} cannot be written: {error}; name a file in a folder that can be") from None
