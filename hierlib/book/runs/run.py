"""Runs chapters and quantities, each into a folder of its own, and never the same run twice.

A run's folder holds the executed notebook, run.json (what was run, and a checksum of every file),
records.json and data/. It is written under another name and renamed when whole, so a folder that exists is
complete, whatever was killed; a run that failed is kept beside it as NAME-failed. What is no fault of the run (a full
disk, other code on a worker) leaves nothing.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from hierlib import _process
from hierlib._files import write_text
from hierlib._provenance import commit, versions
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.key import code_key, inputs_of, run_keys
from hierlib.book.runs.params import placed, resolve
from hierlib.book.runs.point import run_point
from hierlib.book.runs.targets import Target

KEEP = 6  # runs of one chapter that stay in _build/runs beside those just used


@dataclass(frozen=True)
class Job:
    """One run: a target, the value of each of its parameters, and the folder that it becomes.

    Args:
        given: the values that differ from the defaults; papermill puts these into the notebook.
        timeout: seconds that one cell may take, None for no limit.
        force: run again even if the folder is there.
        fit: `identity` of the code and versions that the run is meant to have; where there are others it is refused.
        commit: what the run says of its commit; None to ask git.
        inputs: of the parameters that name files how many, and a digest of their names and contents.
    """

    target: Target
    values: Mapping
    given: Mapping
    key: str
    folder: Path
    timeout: int | None = None
    force: bool = False
    fit: str = ""
    commit: str | None = None
    inputs: Mapping = field(default_factory=dict)


class Misfit(RuntimeError):
    """The code or the versions here are not those that the run was prepared with."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `error` is None, or one line that says what was raised; `folder` is what there is to read.

    `halt` says that it is no fault of this run, and that the others cannot go on either; nothing is left of it then.
    """

    job: Job
    folder: Path
    seconds: float
    cached: bool = False
    error: str | None = None
    halt: bool = False

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return self.folder / f"{self.job.target.slug}.ipynb"

    @property
    def left(self) -> Path | None:
        """Of a failure, what there is to read: the notebook up to there, or a traceback; None after a halt."""
        return next((p for p in (self.notebook, self.folder / "traceback.txt") if p.exists()), None)


def prepare(
    target: Target,
    given: Mapping | None = None,
    folder: Path | None = None,
    *,
    timeout: int | None = None,
    force: bool = False,
) -> Job:
    """The job of running `target` with `given` parameters; raises BadRequest before anything runs.

    Args:
        folder: where to; by default _build/runs/SLUG-KEY of the checkout.
        timeout, force: of the Job.
    """
    values = resolve(target.parameters, given or {}, chapter=target.slug)
    folder = None if folder is None else Path(folder)
    return jobs_of(target, [values], target.root / "_build" / "runs", folder, timeout=timeout, force=force)[0]


def jobs_of(
    target: Target,
    points: Iterable[Mapping],
    into: Path,
    folder: Path | None = None,
    *,
    timeout: int | None = None,
    force: bool = False,
    fit: str = "",
    commit: str | None = None,
    here: bool = True,
) -> list[Job]:
    """The jobs of many points, whose values are whole and checked, each in a folder `into`/SLUG-KEY of its own.

    Args:
        folder: for a single point, the folder that it becomes.
        timeout, force, fit, commit: of each Job.
        here: whether they run on this machine; see `placed`.
    """
    inputs, defaults = inputs_of(target), placed({k: p.default for k, p in target.parameters.items()}, here=False)
    found: dict[Path, Job] = {}  # "auto" and the device that it stands for are one point
    key_of = run_keys(target, inputs)
    into = Path(into).absolute()
    for values in (placed(each, here=here) for each in points):
        key = key_of(values)
        given = {k: v for k, v in values.items() if v != defaults[k]}
        where = into / f"{target.slug}-{key}" if folder is None else folder.absolute()
        inputs.refuse_inside(target.parameters, values, where)
        files = inputs.of(target.parameters, values)
        found[where] = Job(target, values, given, key, where, timeout, force, fit, commit, files)
        _refuse_foreign(found[where])
    return [*found.values()]


def _refuse_foreign(job: Job, there: Path | None = None) -> None:
    """Nothing but a run may be replaced, and one of other parameters only by force; one of earlier code or files is out
    of date. A folder of the run's own name is a run.

    Args:
        there: where that which was in the job's folder is now; by default in its place.
    """
    folder, there = job.folder, there or job.folder
    if folder.name != f"{job.target.slug}-{job.key}" and there.exists() and not _empty(there):
        facts = _facts(there)
        if not {"chapter", "parameters"} <= facts.keys():
            raise BadRequest(f"{folder} is there and holds no run; name a folder that is new or empty")
        same = (facts["chapter"], facts["parameters"]) == (job.target.slug, dict(job.values))
        if not same and not job.force:
            raise BadRequest(f"{folder} holds another run; name another folder, or replace it with --force")


def _empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def finished(job: Job) -> bool:
    """Whether the job's folder holds this very run, whole: key, parameters and the checksum of every file are right."""
    facts = _facts(job.folder)
    if facts.get("key") != job.key or facts.get("parameters") != dict(job.values):
        return False
    try:
        return facts.get("files") == checksums(job.folder)
    except (OSError, ValueError):
        return False


def _facts(folder: Path) -> dict:
    """What the run in a folder says of itself; nothing where there is none, or it is damaged."""
    try:
        facts = json.loads((folder / "run.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def execute(job: Job) -> Outcome:
    """Runs one job in this process, unless it is done already. Whatever a chapter raises ends up in the Outcome."""
    start = time.time()
    if finished(job) and not job.force:
        with contextlib.suppress(OSError):
            os.utime(job.folder)  # `prune` keeps what was used last
        return Outcome(job, job.folder, 0.0, cached=True)
    part = _part(job)
    try:
        if job.fit and job.fit != identity(job.target):
            raise Misfit("the code has changed since the start, or this worker has other code or versions")
        _check_inputs(job)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        facts = {
            "chapter": job.target.slug,
            "parameters": dict(job.values),
            "inputs": dict(job.inputs),
            "key": job.key,
            "code": _code_here(job.target),
            "commit": commit(job.target.root) if job.commit is None else job.commit,
            "versions": versions(),
            "started": start,
        }
        _write(part / "run.json", facts)
        run_point(job.target, job.values, job.given, part, job.timeout)
        _check_inputs(job)
        facts |= {"seconds": round(time.time() - start, 3), "files": checksums(part)}
        _write(part / "run.json", facts)
        _publish(part, job)
        shutil.rmtree(failed_folder(job), ignore_errors=True)
        return Outcome(job, job.folder, time.time() - start)
    except BaseException as error:  # sys.exit() and its like are the point's own, and end no other
        if isinstance(error, KeyboardInterrupt) and _by_hand():
            raise
        seconds, text = time.time() - start, _readable(traceback.format_exc())
        if isinstance(error, Misfit):
            return Outcome(job, job.folder, seconds, error=_summary(error), halt=True)
        if why := _no_room(error, part):
            return Outcome(job, job.folder, seconds, error=why, halt=True)
        _keep_failed(part, job, text)
        return Outcome(job, failed_folder(job), seconds, error=_summary(error))
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check_inputs(job: Job) -> None:
    """The files that parameters name must be those of the job's key, before the run and after it."""
    try:
        now = inputs_of(job.target).of(job.target.parameters, job.values)
    except BadRequest as error:
        raise Misfit(str(error)) from None
    if bad := sorted(name for name in {**now, **job.inputs} if now.get(name) != job.inputs.get(name)):
        raise Misfit(f"the files that {bad[0]} = {job.values[bad[0]]!r} names have changed, or are others here")


def failed_folder(job: Job) -> Path:
    """Where a run is kept that has failed: what it had left up to there, and traceback.txt."""
    return job.folder.with_name(f"{job.folder.name}-failed")


def _keep_failed(part: Path, job: Job, text: str) -> None:
    shutil.rmtree(failed_folder(job), ignore_errors=True)
    with contextlib.suppress(OSError):
        part.mkdir(parents=True, exist_ok=True)
        (part / "traceback.txt").write_text(text, "utf-8")
        if not (part / "run.json").exists():  # its process has died: what is left says of which point
            facts = {"chapter": job.target.slug, "parameters": dict(job.values), "key": job.key, "started": time.time()}
            _write(part / "run.json", facts)
        part.replace(failed_folder(job))


def died(job: Job, why: str) -> Outcome:
    """The outcome of a run whose process died under it, kept as one that failed."""
    _keep_failed(_part(job), job, f"{why}\n")
    return Outcome(job, failed_folder(job), 0.0, error=why)


def _part(job: Job) -> Path:
    return job.folder.with_name(f".{job.folder.name}.{_process.name()}.part")


def _by_hand() -> bool:
    """Whether a KeyboardInterrupt may be Ctrl-C here. Workers and threads never hear of that."""
    here = threading.current_thread() is threading.main_thread()
    return here and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _no_room(error: BaseException, folder: Path) -> str | None:
    """Why nothing more can be written there, if so. Libraries hide it in errors of their own: a try tells, too."""
    try:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}:
            raise error
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / "room.part"
        probe.write_bytes(b"\1" * 2**18)  # as much as a point may need
        probe.unlink()
    except OSError as why:
        return f"nothing can be written to {folder.parent} ({why.strerror})"
    return None


def identity(target: Target) -> str:
    """Of the code and the versions that a run in this process would have."""
    return hashlib.sha256(json.dumps([_code_here(target), versions()]).encode()).hexdigest()[:16]


@lru_cache
def _code_here(target: Target) -> str:
    """Once a process: it imports the code once, too."""
    return code_key(target)


def prune(runs: Path, used: Iterable[Outcome]) -> None:
    """Removes all but the newest few runs of each chapter, and what killed runs have left."""
    slugs = {o.job.target.slug: 0 for o in used}
    keep = {o.folder for o in used}
    for folder in sorted(runs.glob("*"), key=_age):
        match = re.fullmatch(r"(.+)-[0-9a-f]{16}(-failed)?", folder.name)
        if match and match[1] in slugs and folder not in keep:
            slugs[match[1]] += not match[2]
            if match[2] or slugs[match[1]] > KEEP:
                shutil.rmtree(folder, ignore_errors=True)
    clear_parts(runs)


def clear_parts(runs: Path) -> None:
    """Removes what runs have left that were killed on this machine; those of other machines and containers stay."""
    for part in runs.glob(".*.part"):
        if _process.gone(part.name.removesuffix(".part")):
            shutil.rmtree(part, ignore_errors=True)
            with contextlib.suppress(OSError):  # a mark is a file
                part.unlink()


def _publish(part: Path, job: Job) -> None:
    """Renames the whole run to its place; where another process was quicker with the same run, that one stays.

    Raises:
        BadRequest: it was quicker with another run.
    """
    for attempt in range(3):
        try:
            part.replace(job.folder)  # works only where there is nothing, or an empty folder
            return
        except OSError:
            if finished(job) and not job.force:
                return
            if attempt == 2:
                raise
            _refuse_foreign(job)
            old = part.with_name(f".old{part.name}")
            with contextlib.suppress(FileNotFoundError):
                job.folder.replace(old)
            try:
                _refuse_foreign(job, old)  # again: another may have come between
            except BadRequest:
                with contextlib.suppress(OSError):  # a third has put one there
                    old.replace(job.folder)
                raise
            finally:
                shutil.rmtree(old, ignore_errors=True)


def checksums(folder: Path) -> dict[str, str]:
    """Of every file of a run but run.json, which holds them; no run makes links.

    Raises:
        ValueError: there is a link.
    """
    paths = sorted(folder.rglob("*"))
    if any(path.is_symlink() for path in paths):
        raise ValueError("a file of it is a link")
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.is_file() and path.name != "run.json"
    }


def _write(path: Path, facts: dict) -> None:
    write_text(path, json.dumps(facts, indent=1) + "\n")


def expected_seconds(job: Job) -> float:
    """How long the target took last time; infinite if it never ran, for it may be the longest."""
    earlier = min(job.folder.parent.glob(f"{job.target.slug}-*/run.json"), key=_age, default=None)
    return float(_facts(earlier.parent).get("seconds", math.inf)) if earlier else math.inf


def _summary(error: BaseException) -> str:
    name, text = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    lines = [line for line in _readable(text).splitlines() if line.strip()]
    return f"{name}: {lines[0] if lines else 'no message'}"


def _readable(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # removed by another build
        return math.inf
