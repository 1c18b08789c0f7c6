"""What a chapter leaves behind for others: answers to claims, and the numbers behind its figures.

Both go into the folder of the run (records.json and data/). Where a chapter is not started by the runner,
say cell by cell in Jupyter, nothing is written.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from hierlib.book.provenance import commit, run_facts, run_folder, versions

Z95 = 1.959963984540054  # half the width of a 95 % interval in standard errors


class Record(dict):
    """One answer; shows as one line."""

    def __repr__(self) -> str:
        between = f", 95 % interval {self['interval']}" if self.get("interval") else ""
        return f"{self['id']}: {self['value']}{between}"


def claims(root: Path | None = None) -> dict[str, dict]:
    """The rows of book/claims.yaml by id.

    Args:
        root: the checkout; by default the one that holds the current folder.
    """
    path = (root or _checkout()) / "book" / "claims.yaml"
    rows = yaml.safe_load(path.read_text("utf-8"))
    rows = rows["claims"] if isinstance(rows, dict) else rows
    found = {}
    for row in rows:
        if row["id"] in found:
            raise ValueError(f"{path.name}: the id {row['id']!r} stands twice")
        found[row["id"]] = row
    return found


def record(id: str, value, interval: Sequence[float] | None = None) -> Record:
    """Answers the row `id` of book/claims.yaml with what this run has found.

    Args:
        value: a finite number, True or False, a string, or a list of these.
        interval: its 95 % interval (lo, hi), in the units of value.

    Raises:
        ValueError: the id is not in the ledger or already answered in this run, or the value is not finite.
    """
    known = claims()
    if id not in known:
        near = [k for k in known if set(k.split("-")) & set(str(id).split("-"))]
        raise ValueError(f"no claim {id!r} in book/claims.yaml; near it: {', '.join(near[:5]) or 'none'}")
    answer = Record(id=id, value=_plain(value), interval=None)
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


def save(name: str, data) -> Path | None:
    """Keeps the numbers behind a figure, with the parameters, versions and commit that made them.

    Args:
        name: file name without suffix: lower-case letters, digits and hyphens.
        data: an xarray.Dataset (written as netCDF) or a dict of numbers, strings and lists (as JSON).

    Returns:
        The file, or None outside a run.
    """
    import xarray as xr

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
    }
    text = None if isinstance(data, xr.Dataset) else json.dumps({**made, "data": _plain(data)}, indent=1)
    if folder is None:
        return None
    path = folder / "data" / f"{name}.{'nc' if text is None else 'json'}"
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        raise ValueError(f"{name}: saved twice in this run")
    if text is not None:
        return _write(path, text)
    attributes = {k: v if isinstance(v, str) else json.dumps(v) for k, v in made.items()}
    part = path.with_suffix(".part")
    data.assign_attrs(attributes).to_netcdf(part, engine="netcdf4")
    return part.replace(path)


def verdict(claim: Mapping, answer: Mapping, *, condition: bool | None = None) -> str:
    """ "reproduced", "qualified" or "differs": computed from the claim's `expect` and the recorded answer.

    Args:
        claim: a row of book/claims.yaml.
        answer: with `value` and `interval` (or None), as `record` stores it.
        condition: whether the claim's condition, itself a claim, holds; needed if it has one.

    Raises:
        ValueError: `expect` is not one of the forms that book/claims.yaml describes, or the answer does not
            fit it (a wrong type, no interval where `se` asks for one).
    """
    if not holds(claim, answer):
        return "differs"
    if "condition" not in claim:
        return "reproduced"
    if condition is None:
        raise ValueError(f"claim {claim['id']!r}: say whether its condition {claim['condition']['check']!r} holds")
    return "qualified" if condition else "reproduced"


def verdicts(rows: Mapping[str, Mapping], answers: Mapping[str, Mapping]) -> dict[str, str]:
    """The verdict of every claim, by id: of those not decided here what `status_if_not_run` says, of those
    without an answer "not answered yet"."""
    found = {}
    for id, claim in rows.items():
        check = claim.get("condition", {}).get("check")
        if "status_if_not_run" in claim:
            found[id] = claim["status_if_not_run"].partition(":")[0]
        elif id not in answers or (check and check not in answers):
            found[id] = "not answered yet"
        else:
            condition = holds(rows[check], answers[check]) if check else None
            found[id] = verdict(claim, answers[id], condition=condition)
    return found


def holds(claim: Mapping, answer: Mapping) -> bool:
    """Whether the answer is what the claim expects. Raises as `verdict` does."""
    expect, value, interval = claim.get("expect"), answer["value"], answer.get("interval")

    def wrong(why: str) -> ValueError:
        return ValueError(f"claim {claim.get('id')!r}: {why}; expect is {expect!r}, the answer {value!r} {interval}")

    if not isinstance(expect, Mapping):
        raise wrong("no `expect`")
    form = set(expect) - {"se", "abs"}
    if form == {"holds"} and expect == {"holds": True}:
        if not isinstance(value, bool):
            raise wrong("expected True or False")
        return value
    if form == {"equals"} and len(expect) == 1:
        return _plain(expect["equals"]) == _plain(value)
    if len(form) != 1 or not form <= {"at_most", "at_least", "near"} or ("abs" in expect) != (form == {"near"}):
        raise wrong("not a form that the head of book/claims.yaml describes")
    if not all(_number(x) for x in expect.values()) or min(expect.get("se", 0), expect.get("abs", 0)) < 0:
        raise wrong("its numbers must be finite, `se` and `abs` not negative")
    if not _number(value):
        raise wrong("expected a finite number")
    slack = 0.0
    if "se" in expect:
        if interval is None:
            raise wrong("`se` needs the answer's interval")
        slack = expect["se"] * (interval[1] - interval[0]) / (2 * Z95)
    if "at_most" in expect:
        return value + slack <= expect["at_most"]
    if "at_least" in expect:
        return value - slack >= expect["at_least"]
    return abs(value - expect["near"]) <= expect["abs"] + slack


def _checkout() -> Path:
    from hierlib.book.checkout import find_checkout

    return find_checkout()


def _number(x) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x)


def _plain(value):
    """Arrays, tensors and numpy scalars as Python's own numbers and lists; refuses what is not finite."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, bool | str) or value is None or _number(value):
        return value
    raise ValueError(f"expected finite numbers, True or False, strings, or lists of them, got {value!r}")


def _write(path: Path, text: str) -> Path:
    part = path.with_suffix(".part")
    part.write_text(text + "\n", "utf-8")
    return part.replace(path)
