"""All runs of one chapter or quantity in a folder, as one labelled xarray.Dataset."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import xarray as xr

from hierlib._netcdf import write as write_netcdf
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.join import SECONDS, Part, join
from hierlib.book.runs.run import checksums


@dataclass
class Collected:
    """The dataset, and what is not in it."""

    data: xr.Dataset
    runs: int
    damaged: list[str] = field(default_factory=list)  #: folders whose files are not those of the run, and why
    older: int = 0  #: runs of an earlier state of the code, left out
    notes: list[str] = field(default_factory=list)  #: how the dataset differs from those of the runs


def collect(folder: Path, of: str | None = None) -> Collected:
    """Reads every finished run below a folder; damaged ones are named and left out.

    The dimensions are the parameters that vary between the runs; points that are missing are nan. Variables are those
    of the datasets that the runs have saved, the answers to claims (`claim:id`, and `claim:id:low`, `claim:id:high`
    where there is an interval), and the seconds that each took, which are nan for a point that is missing and no other.

    Args:
        folder: what a sweep wrote to.
        of: the slug, needed where the folder holds runs of more than one.

    Raises:
        BadRequest: there is nothing to collect, or it does not fit into one array.
    """
    if not folder.is_dir():
        raise BadRequest(f"{folder} is no folder; name the one that a sweep has written to (--out)")
    damaged: list[str] = []
    found: list[_Run] = []
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
    runs, notes = _once(now)
    data, differing = join([run.part for run in runs])
    left = sorted({name for run in runs for name in run.left})
    notes += [*differing, *([f"not in the dataset, but in the runs' folders: {', '.join(left)}"] if left else [])]
    facts = [run.facts for run in runs]
    attributes = {
        "chapter": facts[0]["chapter"],
        "commits": json.dumps(sorted({each["commit"] for each in facts})),
        "versions": json.dumps([json.loads(v) for v in sorted({json.dumps(each["versions"]) for each in facts})]),
        "runs": len(runs),
    }
    return Collected(data.assign_attrs(attributes), len(runs), damaged, len(found) - len(now), notes)


@dataclass
class _Run:
    facts: dict
    part: Part
    left: list[str]  #: what of it is not collected

    @classmethod
    def read(cls, folder: Path) -> "_Run":
        facts = json.loads((folder / "run.json").read_text("utf-8"))
        wanted, here = facts["files"], checksums(folder)
        for name in sorted(set(wanted) | set(here)):
            if wanted.get(name) != here.get(name):
                word = "is missing" if name not in here else "is not of the run" if name not in wanted else "is damaged"
                raise ValueError(f"{name} {word}")
        part = Part(folder.name, facts["parameters"], {}, {SECONDS: float(facts["seconds"])})
        for path in sorted(folder.glob("data/*.nc")):
            with xr.open_dataset(path, engine="netcdf4") as source:
                part.files[path.stem] = source.load()
            _same(json.loads(part.files[path.stem].attrs["parameters"]), part.values)
        left = [path.name for path in sorted(folder.glob("data/*")) if path.suffix != ".nc"]
        if (folder / "records.json").exists():
            for row in json.loads((folder / "records.json").read_text("utf-8")):
                _same(row["parameters"], part.values)
                left += _answer(part.own, f"claim:{row['id']}", row)
        facts["started"] = float(facts["started"])
        return cls(facts, part, left)


def _answer(own: dict, name: str, row: Mapping) -> list[str]:
    """Puts an answer among a run's own, with its interval; returns its name if it is no single value."""
    if isinstance(row["value"], list | dict) or row["value"] is None:
        return [name]
    own[name] = row["value"]
    if row.get("interval"):
        own[f"{name}:low"], own[f"{name}:high"] = row["interval"]
    return []


def _same(parameters: Mapping, values: Mapping) -> None:
    """run.json has no checksum of its own: the labels that it gives must be those beside the data."""
    if parameters != values:
        raise ValueError("run.json has other parameters than the data")


def _once(runs: list[_Run]) -> tuple[list[_Run], list[str]]:
    """Of each point the newest run, and a note of each other."""
    newest: dict[tuple, _Run] = {}
    notes = []
    for run in sorted(runs, key=lambda run: run.facts["started"]):
        point = tuple(sorted(run.part.values.items()))
        if old := newest.pop(point, None):
            why = "a copy" if old.facts.get("key") == run.facts.get("key") else "an older run, of other files,"
            notes.append(f"{old.part.name} is left out: {why} of the point that is in {run.part.name}")
        newest[point] = run
    return sorted(newest.values(), key=lambda run: run.part.name), notes


def write(data: xr.Dataset, path: Path) -> None:
    """As netCDF, whole or not at all.

    Raises:
        BadRequest: it cannot be written there, or would not be read as it is.
    """
    if not path.name or path.is_dir():
        raise BadRequest(f"{path} is a folder; name a file, say {path / 'all.nc'}")
    try:
        write_netcdf(data, path)
    except (OSError, RuntimeError, ValueError) as error:  # netCDF4 raises RuntimeError on a full disk
        if isinstance(error, ValueError) and "null byte" not in str(error):
            raise BadRequest(f"the dataset cannot be written: {error}") from None
        raise BadRequest(f"{path} cannot be written: {error}; name a file in a folder that can") from None
