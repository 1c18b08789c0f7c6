"""All runs of one chapter or quantity in a folder, as one labelled xarray.Dataset."""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import xarray as xr

from hierlib._netcdf import write as write_netcdf
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.join import SECONDS, Part, join
from hierlib.book.runs.run import checksums

NAMED = 5  # of what is missing or damaged


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

    The dimensions are the parameters that vary between the runs, those that have failed among them; points that are
    missing are nan, and the notes say how many these are, and which. Variables are those
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
    failures: list[Path] = []
    for path in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        if path.name.endswith("-failed"):
            failures.append(path)
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
        more = f"; {len(damaged)} are damaged: {'; '.join(damaged[:NAMED])}" if damaged else ""
        names = [path.name for path in failures if of is None or path.name.startswith(f"{of}-")]
        more += f"; {len(names)} have failed: {_some(names)}" if names else ""
        raise BadRequest(f"{folder} holds no finished run{f' of {of}' if of else ''}{more}; `hierlib sweep` makes some")
    last = max(found, key=lambda run: run.facts["started"]).facts
    newest = last.get("code")
    now = [run for run in found if run.facts.get("code") == newest]
    runs, notes = _once(now)
    failed, unknown = _failed(failures, last, [run.part for run in runs])
    notes += [f"failed, and nobody knows at which point: {_some(unknown)}"] if unknown else []
    data, differing = join([*(run.part for run in runs), *failed])
    left = sorted({name for run in runs for name in run.left})
    notes += [
        *_missing([run.part for run in runs], failed),
        *differing,
        *([f"not in the dataset, but in the runs' folders: {', '.join(left)}"] if left else []),
    ]
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


def _failed(folders: Iterable[Path], last: Mapping, done: Sequence[Part]) -> tuple[list[Part], list[str]]:
    """Points of this state of the code, or of a later one, that have failed and are not done; folders that tell none.

    Args:
        last: what the latest finished run says of itself.
    """
    points = {_point(part) for part in done}
    found: dict[tuple, Part] = {}
    unknown = []
    for folder in folders:
        try:
            facts = json.loads((folder / "run.json").read_text("utf-8"))
            part = Part(folder.name, facts["parameters"], {})
            later = facts.get("code") == last.get("code") or float(facts["started"]) > last["started"]
            if facts["chapter"] == last["chapter"] and later and part.values.keys() == last["parameters"].keys():
                found[_point(part)] = part
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            if folder.name.startswith(f"{last['chapter']}-"):
                unknown.append(folder.name)
    return [part for point, part in found.items() if point not in points], unknown


def _missing(done: Sequence[Part], failed: Sequence[Part]) -> list[str]:
    """How many points of the grid that the runs span are missing, and which, in a line."""
    parts = [*done, *failed]
    values = {name: sorted({part.values[name] for part in parts}) for name in parts[0].values}
    swept = {name: each for name, each in values.items() if len(each) > 1}
    count = math.prod(map(len, swept.values())) - len(done)
    if not count:
        return []
    known = {tuple(part.values[name] for name in swept) for part in parts}
    rest = (point for point in itertools.product(*swept.values()) if point not in known)
    never = [_words(dict(zip(swept, point, strict=True))) for point in itertools.islice(rest, NAMED)]
    told = [
        f"{number} {what}: {_some(names, number)}"
        for number, what, names in (
            (len(failed), "failed", [f"{_words({k: p.values[k] for k in swept})} ({p.name})" for p in failed]),
            (count - len(failed), "not there", never),
        )
        if number
    ]
    return [
        f"{count} of the grid's {len(done) + count} points {'is' if count == 1 else 'are'} missing; {'; '.join(told)}"
    ]


def _words(values: Mapping) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items()) or "the only one"


def _some(names: Sequence[str], count: int | None = None) -> str:
    more = (count or len(names)) - NAMED
    return "; ".join(names[:NAMED]) + (f"; and {more} more" if more > 0 else "")


def _point(part: Part) -> tuple:
    return tuple(sorted(part.values.items()))


def _once(runs: list[_Run]) -> tuple[list[_Run], list[str]]:
    """Of each point the newest run, and a note of each other."""
    newest: dict[tuple, _Run] = {}
    notes = []
    for run in sorted(runs, key=lambda run: run.facts["started"]):
        point = _point(run.part)
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
