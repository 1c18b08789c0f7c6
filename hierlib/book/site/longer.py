"""Answers of longer runs, kept in book/longer: where a build's run cannot resolve a claim, one with more data can.

A longer run is a run of the same chapter of which nothing differs but how much was drawn. `hierlib keep FOLDER` keeps
the answers of one, with the command, the commit and the versions that made them; they count where they drew more or
are sharper.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hierlib._files import write_text
from hierlib.book.runs.checkout import chapter
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.params import DEVICE
from hierlib.book.runs.run import checksums
from hierlib.book.site.ledger import Z95

FOLDER = "book/longer"
DRAWN = frozenset({"draws", "data", "runs", "tables", "pool"})  # how much is drawn
SIZES = DRAWN | {"profile", "seed"}  # what may be other in a longer run
APART = 5.0  # standard errors between two answers to one question that cannot be chance among some hundred of them

Answer = dict[str, Any]


def keep(root: Path, folder: Path) -> list[str]:
    """Takes the answers of a finished run into book/longer, each unless one that is there already counts more.

    Args:
        root: of the checkout.
        folder: of the run, as `hierlib run CHAPTER … --out FOLDER` leaves it.

    Returns:
        The claims of which its answer is kept: it has an interval, and none that is there counts more.

    Raises:
        BadRequest: it is no finished run of a chapter, has no such answer, or was not of what the book's run is of.
    """
    try:
        facts = json.loads((folder / "run.json").read_text("utf-8"))
        rows = json.loads((folder / "records.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequest(f"{folder}: expected a finished run of a chapter that answers claims, got {error}") from None
    if facts.get("files") != checksums(folder):
        raise BadRequest(
            f"{folder}: expected a finished run, got one that failed or whose files have changed; run it again"
        )
    usual = {name: p.default for name, p in chapter(root, facts["chapter"]).parameters.items()}
    given = {name: value for name, value in facts["parameters"].items() if value != usual.get(name)}
    if other := sorted(given.keys() - SIZES - {DEVICE}):
        raise BadRequest(
            f"{folder}: expected a run that differs from the book's in how much it draws "
            f"({', '.join(sorted(SIZES))}), got other {', '.join(other)}; its answers are to other questions"
        )
    answers = {row["id"]: {k: row[k] for k in ("value", "interval")} for row in rows if row.get("interval")}
    if not answers:
        raise BadRequest(f"{folder}: expected answers with an interval, got none; nothing here could be sharper")
    words = "".join(f" -p {name}={value}" for name, value in sorted(given.items()))
    made = {
        "command": f"hierlib run {facts['chapter']}{words}",
        "date": time.strftime("%Y-%m-%d", time.gmtime(facts["started"])),
        **{name: facts[name] for name in ("commit", "code", "versions", "seconds")},
        "drawn": _drawn(facts["parameters"]),
    }
    path = root / FOLDER / f"{facts['chapter']}.json"
    runs = json.loads(path.read_text("utf-8")) if path.exists() else []
    runs = [run for run in runs if run["made"]["command"] != made["command"]] + [{"made": made, "answers": answers}]
    best = _best(runs)
    left = [run | {"answers": {id: run["answers"][id] for id in run["answers"] if best[id][0] is run}} for run in runs]
    text = json.dumps([run for run in left if run["answers"]], indent=1, ensure_ascii=False)
    write_text(path, text + "\n")
    return sorted(id for id in answers if best[id][0] is runs[-1])


def read(root: Path) -> dict[str, Answer]:
    """The kept answers by claim, each with what `made` it."""
    runs = [run for path in sorted((root / FOLDER).glob("*.json")) for run in json.loads(path.read_text("utf-8"))]
    return {id: answer | {"made": run["made"]} for id, (run, answer) in _best(runs).items()}


def _best(runs: list[dict[str, Any]]) -> dict[str, tuple[dict[str, Any], Answer]]:
    """Of each claim the run whose answer counts, and the answer."""
    found: dict[str, tuple[dict[str, Any], Answer]] = {}
    for run in runs:
        for id, answer in run["answers"].items():
            rival, other = found.get(id, (run, answer))
            if rival is run or _counts(answer, run["made"]["drawn"], other, rival["made"]["drawn"]):
                found[id] = run, answer
    return found


def _drawn(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name in DRAWN}


def _counts(
    one: Mapping[str, Any], drew: Mapping[str, Any], other: Mapping[str, Any], other_drew: Mapping[str, Any]
) -> bool:
    """Whether of two answers the first counts: its run drew more, or neither did and its interval is narrower.

    More is as much of everything and more of something. An interval of few draws is narrow, too, where all of them
    have missed what is rare.
    """
    if drew != other_drew and drew.keys() == other_drew.keys():
        if all(drew[name] >= other_drew[name] for name in drew):
            return True
        if all(drew[name] <= other_drew[name] for name in drew):
            return False
    return _width(one) < _width(other)


def sharper(answer: Answer, longer: Mapping[str, Any] | None) -> Answer:
    """The answer of a build, or a longer run's where that drew more or is sharper; what the build had is its `here`.

    Raises:
        BadRequest: the two contradict each other, so that one of them is not of today's code.
    """
    if longer is None or not answer.get("interval"):
        return answer
    if not _counts(longer, longer["made"]["drawn"], answer, _drawn(answer.get("parameters", {}))):
        return answer
    error = (_width(longer) ** 2 + _width(answer) ** 2) ** 0.5 / (2 * Z95)
    if abs(longer["value"] - answer["value"]) > APART * error:
        raise BadRequest(
            f"{answer['id']}: this build has {answer['value']:.4g} {answer['interval']}, but {FOLDER} has "
            f"{longer['value']:.4g} {longer['interval']} of commit {longer['made']['commit']}; run it again: "
            f"{longer['made']['command']} --out FOLDER && hierlib keep FOLDER"
        )
    here = {k: answer[k] for k in ("value", "interval")}
    return answer | {k: longer[k] for k in ("value", "interval", "made")} | {"here": here}


def _width(answer: Mapping[str, Any]) -> float:
    lo, hi = answer["interval"]
    return float(hi - lo)
