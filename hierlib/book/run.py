"""Runs chapters by papermill, each into a folder of its own, and never the same run twice.

A run's folder holds the executed notebook, run.json (what was run, and a checksum of every file),
records.json and data/. It is written under another name and renamed when whole, so a folder that exists is
complete, whatever was killed; a run that failed is kept beside it as NAME-failed.
"""

import contextlib
import copy
import hashlib
import json
import logging
import multiprocessing
import os
import re
import shutil
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from hierlib.book.cache import run_key
from hierlib.book.checkout import Chapter
from hierlib.book.params import BadRequest, resolve
from hierlib.book.provenance import RUN_DIR, commit, versions

KEEP = 6  # runs of one chapter that stay in _build/runs beside those just used

# One thread a chapter: its arrays are small, and chapters run side by side. The chapters fetch nothing.
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    **dict.fromkeys(("NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"),
    "PYTHONHASHSEED": "0",
    "HF_HUB_OFFLINE": "1",
    "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this environment, not one that the user has installed
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


@dataclass(frozen=True)
class Job:
    """One run: a chapter, the value of each of its parameters, and the folder that it becomes.

    Args:
        given: the values that differ from the defaults; papermill puts these into the notebook.
        timeout: seconds that one cell may take, None for no limit.
        force: run again even if the folder is there.
    """

    chapter: Chapter
    values: Mapping
    given: Mapping
    key: str
    folder: Path
    timeout: int | None = None
    force: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `error` is None, or one line that says what was raised; `folder` is what there is to read."""

    job: Job
    folder: Path
    seconds: float
    cached: bool = False
    error: str | None = None

    @property
    def notebook(self) -> Path:
        return self.folder / f"{self.job.chapter.slug}.ipynb"


def prepare(chapter: Chapter, given: Mapping | None = None, folder: Path | None = None, **options) -> Job:
    """The job of running `chapter` with `given` parameters; raises BadRequest before anything runs.

    Args:
        folder: where to; by default _build/runs/SLUG-KEY of the checkout.
        options: `timeout` and `force` of the Job.
    """
    values = resolve(chapter.parameters, given or {}, chapter=chapter.slug)
    given = {k: v for k, v in values.items() if v != chapter.parameters[k].default}
    key = run_key(chapter, values)
    folder = Path(folder or chapter.root / "_build" / "runs" / f"{chapter.slug}-{key}").absolute()
    job = Job(chapter, values, given, key, folder, **options)
    _refuse_foreign(job)
    return job


def _refuse_foreign(job: Job) -> None:
    """Nothing but a run may be replaced, and another run only by force."""
    folder = job.folder
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        try:
            key = json.loads((folder / "run.json").read_text("utf-8"))["key"]
        except (OSError, ValueError, KeyError, TypeError):
            raise BadRequest(f"{folder} is there and holds no run; name a folder that is new or empty") from None
        if key != job.key and not job.force:
            raise BadRequest(f"{folder} holds another run; name another folder, or replace it with --force")


def finished(job: Job) -> bool:
    """Whether the job's folder holds this very run, whole: the key and the checksum of every file are right."""
    try:
        facts = json.loads((job.folder / "run.json").read_text("utf-8"))
        return facts["key"] == job.key and facts["files"] == _checksums(job.folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def execute(job: Job) -> Outcome:
    """Runs one job in this process, unless it is done already. What a chapter raises ends up in the Outcome."""
    start = time.time()
    if finished(job) and not job.force:
        with contextlib.suppress(OSError):
            os.utime(job.folder)  # `prune` keeps what was used last
        return Outcome(job, job.folder, 0.0, cached=True)
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    part = job.folder.with_name(f".{job.folder.name}.{socket.gethostname()}-{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    facts = {
        "chapter": job.chapter.slug,
        "parameters": dict(job.values),
        "key": job.key,
        "commit": commit(job.chapter.root),
        "versions": versions(),
        "started": start,
    }
    try:
        _write(part / "run.json", facts)
        _papermill(job, part)
        facts |= {"seconds": round(time.time() - start, 2), "files": _checksums(part)}
        _write(part / "run.json", facts)
        _publish(part, job)
        return Outcome(job, job.folder, time.time() - start)
    except Exception as error:
        failed = job.folder.with_name(f"{job.folder.name}-failed")
        shutil.rmtree(failed, ignore_errors=True)
        with contextlib.suppress(OSError):
            (part / "traceback.txt").write_text(_readable(traceback.format_exc()), "utf-8")
        with contextlib.suppress(OSError):
            part.replace(failed)
        return Outcome(job, failed, time.time() - start, error=_summary(error))
    finally:
        shutil.rmtree(part, ignore_errors=True)


def execute_all(jobs: Iterable[Job], workers: int, tell: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
    """Runs jobs in parallel processes, the slowest known first; `tell` hears of each as it ends.

    A job that kills its process (no memory left, say) fails alone: the others run again.
    """
    jobs, outcomes = list(jobs), {}
    todo = sorted(jobs, key=_expected_seconds, reverse=True)
    for job in [j for j in todo if finished(j) and not j.force]:
        tell(outcomes.setdefault(id(job), execute(job)))
    todo = [j for j in todo if id(j) not in outcomes]
    size = min(workers, len(todo))
    for group in [todo, *([j] for j in todo)]:  # again one by one: only what a dying process took with it
        group = [j for j in group if id(j) not in outcomes]
        if not group:
            continue
        with pool(min(size, len(group))) as executor:
            futures = {executor.submit(execute, job): job for job in group}
            for future in as_completed(futures):
                job = futures[future]
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    if len(group) > 1:
                        continue
                    outcome = Outcome(job, job.folder, 0.0, error="its process died; was there enough memory?")
                tell(outcomes.setdefault(id(job), outcome))
    return [outcomes[id(job)] for job in jobs]


@contextlib.contextmanager
def pool(workers: int) -> Iterator[Executor]:
    """Processes that run chapters. They start afresh (spawn: kernels hang in a forked process), and end if
    this process does, however it ends."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(max(workers, 1), mp_context=context, initializer=_start_worker)
    try:
        yield executor
    except BaseException:
        processes = list(executor._processes.values())  # public only from Python 3.14 on
        executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    executor.shutdown()


def prune(runs: Path, used: Iterable[Outcome]) -> None:
    """Removes all but the newest few runs of each chapter, and what killed runs have left."""
    slugs = {o.job.chapter.slug: 0 for o in used}
    keep = {o.folder for o in used}
    for folder in sorted(runs.glob("*"), key=_age):
        match = re.fullmatch(r"(.+)-[0-9a-f]{16}(-failed)?", folder.name)
        if match and match[1] in slugs and folder not in keep:
            slugs[match[1]] += not match[2]
            if match[2] or slugs[match[1]] > KEEP:
                shutil.rmtree(folder, ignore_errors=True)
    for part in runs.glob(".*.part"):
        match = re.fullmatch(r".+\.(.+)-(\d+)\.part", part.name)
        if match and match[1] == socket.gethostname() and not _alive(int(match[2])):
            shutil.rmtree(part, ignore_errors=True)


def _papermill(job: Job, folder: Path) -> None:
    import papermill
    from traitlets.config import Config

    root = job.chapter.root
    # Kernels talk by sockets in a folder, since ports are found by trial and two kernels may find the same one.
    # A socket's path has 104 characters at most, and temporary folders of macOS have long names.
    scratch = tempfile.mkdtemp(prefix="hier-", dir="/tmp" if os.access("/tmp", os.W_OK) else None)
    settings = {
        **_ENVIRONMENT,
        RUN_DIR: str(folder),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")])),
        "IPYTHONDIR": scratch,  # no start-up files of the user, no history shared between kernels
        "JUPYTER_RUNTIME_DIR": scratch,
        "MPLCONFIGDIR": str(root / "_build" / "matplotlib"),
    }
    notebook = copy.deepcopy(job.chapter.notebook)
    notebook.metadata.pop("source_map", None)
    try:
        with _environment(settings):
            papermill.execute_notebook(
                notebook,
                folder / f"{job.chapter.slug}.ipynb",
                parameters=dict(job.given),
                cwd=str(job.chapter.path.parent),
                kernel_name="python3",
                progress_bar=False,
                start_timeout=180,
                execution_timeout=job.timeout,
                config=Config({"KernelManager": {"transport": "ipc", "ip": f"{scratch}/kernel"}}),
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _start_worker() -> None:
    logging.getLogger("papermill").setLevel(logging.ERROR)
    parent = multiprocessing.parent_process()

    def follow():
        parent.join()
        os._exit(1)  # its kernel watches this process in turn

    threading.Thread(target=follow, daemon=True).start()


def _publish(part: Path, job: Job) -> None:
    """Renames the whole run to its place; where another process was quicker with the same run, that one stays."""
    if job.force or not finished(job):
        old = part.with_name(f"{part.name}.old.part")
        with contextlib.suppress(FileNotFoundError):
            job.folder.replace(old)
        shutil.rmtree(old, ignore_errors=True)
    try:
        part.replace(job.folder)
    except OSError:
        if not finished(job):
            raise


def _checksums(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


def _write(path: Path, facts: dict) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    part.replace(path)


def _expected_seconds(job: Job) -> float:
    """How long the chapter took last time; one that never ran may be the longest."""
    runs = [p for p in job.folder.parent.glob(f"{job.chapter.slug}-*/run.json")]
    with contextlib.suppress(OSError, ValueError, KeyError):
        return json.loads(max(runs, key=lambda p: p.stat().st_mtime, default=Path()).read_text())["seconds"]
    return float("inf")


def _summary(error: Exception) -> str:
    name, text = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    lines = [line for line in _readable(text).splitlines() if line.strip()]
    return f"{name}: {lines[0] if lines else 'no message'}"


def _readable(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # removed by another build
        return float("inf")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
