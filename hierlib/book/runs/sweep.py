"""Runs the points of a sweep on any concurrent.futures.Executor: processes here, or workers of a cluster.

A point is a run of `hierlib.book.runs.run`, in a folder named by its key: what is there is skipped, so a sweep that was
stopped, however, goes on where it was. A point that has failed stays failed until a retry is asked for.

A point whose process dies under it may be innocent: others had taken the memory, or somebody stopped the worker. It
runs once more, alone, after all others; if its process dies then, too, it has failed. Which point it was is told by a
mark that a worker leaves beside the results while it is at one, so that no scheduler can hand it on to the next worker.
"""

import contextlib
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

from hierlib import _process
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.point import ENVIRONMENT, environment
from hierlib.book.runs.pool import pool
from hierlib.book.runs.run import Job, Outcome, died, execute, expected_seconds, failed_folder, finished

DEAD = "its process died; was there enough memory?"
FILES_EACH = 10  # that a process of one's own keeps open in this one

P = ParamSpec("P")
T = TypeVar("T")
Ended = tuple[float, bool, str | None, bool]  # of an `Outcome` the seconds, whether it is cached, error, halt


@dataclass
class Tally:
    """How a sweep stands."""

    todo: list[Job]
    there: int = 0  #: points that were finished before
    ran: int = 0
    failed: list[Outcome] = field(default_factory=list)  #: now
    earlier: list[Job] = field(default_factory=list)  #: failed before, not tried again
    halted: str | None = None  #: why the sweep was stopped
    seconds: float = 0.0  #: of all points that ran, on their workers
    workers: int = 0  #: how many workers there were

    def add(self, outcome: Outcome) -> None:
        """Counts a point that has ended."""
        if outcome.halt:
            self.halted = outcome.error
        elif outcome.error:
            self.failed.append(outcome)
        else:
            self.ran += 1
            self.seconds += outcome.seconds


@dataclass(frozen=True)
class Workers:
    """Processes that points are handed to.

    Attributes:
        executor: takes tasks for them.
        size: how many there are.
        ahead: how many tasks are given to it at once, so that no worker waits and no queue grows.
        dead: what tells that a process has died under a task.
    """

    executor: Executor
    size: int
    ahead: int
    dead: tuple[type[BaseException], ...] = (BrokenProcessPool,)


StartWorkers = Callable[[int], contextlib.AbstractContextManager[Workers]]  # of so many at most
OnOutcome = Callable[[Outcome], object]  # is called with each point as it ends


def plan(jobs: Iterable[Job], *, retry: bool = False) -> Tally:
    """Finds which points are there, which have failed before, and which are to be run."""
    tally = Tally([])
    for job in jobs:
        if finished(job):
            tally.there += 1
        elif not retry and failed_folder(job).is_dir():
            tally.earlier.append(job)
        else:
            tally.todo.append(job)
    return tally


def run(tally: Tally, start_workers: StartWorkers, *, batch: int = 1, on_outcome: OnOutcome = lambda _: None) -> None:
    """Runs what is to be done, `batch` points a task, and counts it in the tally."""
    label = f"{uuid.uuid4().hex[:8]}.{_process.name()}"

    def note(outcome: Outcome) -> None:
        tally.add(outcome)
        on_outcome(outcome)

    def failed(job: Job) -> None:
        _mark(job, label).unlink(missing_ok=True)
        note(died(job, DEAD))

    def work(workers: Workers, tasks: Iterable[Sequence[Job]], lost: Callable[[Job], None]) -> None:
        _work(workers, deque(tasks), label, note, lost, lambda: tally.halted is not None)

    groups = [tally.todo[i : i + batch] for i in range(0, len(tally.todo), batch)]
    suspects: list[Job] = []
    if groups:
        with start_workers(len(groups)) as workers:
            tally.workers = workers.size
            work(workers, groups, suspects.append if workers.size > 1 else failed)
    for job in suspects:
        _mark(job, label).unlink(missing_ok=True)
    if suspects and tally.halted is None:
        with start_workers(1) as workers:
            work(replace(workers, ahead=1), ([job] for job in suspects), failed)


def execute_all(jobs: Iterable[Job], workers: int, on_outcome: OnOutcome = lambda _: None) -> list[Outcome]:
    """Runs jobs in processes, the slowest known first. All of them get an outcome: after a halt those that were to come
    have its reason for their error."""
    jobs = list(jobs)
    outcomes: dict[Path, Outcome] = {}

    def note(outcome: Outcome) -> None:
        on_outcome(outcomes.setdefault(outcome.job.folder, outcome))

    todo: list[Job] = []
    for job in sorted(jobs, key=expected_seconds, reverse=True):
        note(execute(job)) if finished(job) and not job.force else todo.append(job)
    tally = Tally(todo)
    run(tally, lambda most: processes(min(most, workers)), on_outcome=note)
    for job in todo:
        if job.folder not in outcomes:
            note(Outcome(job, job.folder, 0.0, error=tally.halted, halt=True))
    return [outcomes[job.folder] for job in jobs]


def _work(
    workers: Workers,
    pending: deque[Sequence[Job]],
    label: str,
    note: OnOutcome,
    lost: Callable[[Job], object],
    stop: Callable[[], bool],
) -> None:
    """Takes tasks off `pending` until it is empty.

    Args:
        label: of the marks.
        note: is called with each point that has ended.
        lost: is called with each point under which a process has died.
        stop: whether no more tasks are to be begun.
    """
    running: dict[Future, Sequence[Job]] = {}
    done: SimpleQueue[Future] = SimpleQueue()

    def halt(task: Sequence[Job], why: str) -> None:
        note(Outcome(task[0], task[0].folder, 0.0, error=why, halt=True))

    while (pending and not stop()) or running:
        while pending and not stop() and len(running) < workers.ahead and done.empty():
            task = pending.popleft()
            try:
                future = workers.executor.submit(execute_many, task, label)
            except Exception as error:
                halt(task, f"a task could not be given to a worker: {_in_words(error)}")
                continue
            running[future] = task
            future.add_done_callback(done.put)
        if not running:
            break
        future = done.get()
        task = running.pop(future)
        if future.cancelled():
            halt(task, "the scheduler of the cluster is gone")
            continue
        raised = future.exception()
        if raised is None:
            for job, ended in zip(task, future.result()):
                if ended is None:
                    lost(job)
                else:
                    seconds, cached, why, stopped = ended
                    note(Outcome(job, failed_folder(job) if why else job.folder, seconds, cached, why, stopped))
        elif isinstance(raised, workers.dead):
            begun = [job for job in task if _mark(job, label).exists()] or task
            for job in begun:
                lost(job)
            if others := [job for job in task if job not in begun]:
                pending.append(others)
        else:  # of the workers, not of a point: a point's own is in its outcome
            halt(task, f"a worker could not take a task: {_in_words(raised)}")


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip()[:300]}"


def execute_many(task: Sequence[Job], label: str) -> list[Ended | None]:
    """On the worker. What goes back is small: the jobs are known there.

    Returns:
        For each job seconds, whether it was there, what was raised, and whether all must stop; None for one that has
        been begun before, by a process that has died since or that the scheduler has given up.
    """
    out: list[Ended | None] = []
    for job in task:
        mark = _mark(job, label)
        with contextlib.suppress(OSError):
            mark.parent.mkdir(parents=True, exist_ok=True)
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            out.append(None)
            continue
        except OSError:
            pass  # the run itself will say what is wrong
        try:
            outcome = execute(job)
        finally:
            with contextlib.suppress(OSError):
                mark.unlink()
        out.append((outcome.seconds, outcome.cached, outcome.error, outcome.halt))
        if outcome.halt:
            break
    return out


def _mark(job: Job, label: str) -> Path:
    """A file that is there while a worker is at a point; `clear_parts` removes those of a sweep that was killed."""
    return job.folder.with_name(f".{job.folder.name}.{label}.part")


@contextlib.contextmanager
def processes(size: int) -> Iterator[Workers]:
    """Processes of this machine, one thread each."""
    with environment(ENVIRONMENT), contextlib.ExitStack() as stack:  # before they import torch
        _open_files(FILES_EACH * size)
        executor = _Apart(stack)
        yield Workers(executor, size, ahead=size)
        executor.shutdown()


class _Apart(Executor):
    """Processes, each with an executor of its own: one that dies takes no other with it."""

    def __init__(self, stack: contextlib.ExitStack):
        self._stack = stack
        self._all: list[Executor] = []
        self._idle: deque[Executor] = deque()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """For a process that is idle, or a new one."""
        one = self._idle.pop() if self._idle else self._start()
        try:
            future = one.submit(fn, *args, **kwargs)
        except BrokenProcessPool:  # it died while it was idle
            one = self._start()
            future = one.submit(fn, *args, **kwargs)

        def is_idle(done: Future) -> None:
            if not done.cancelled() and not isinstance(done.exception(), BrokenProcessPool):
                self._idle.append(one)

        future.add_done_callback(is_idle)
        return future

    def _start(self) -> Executor:
        one = self._stack.enter_context(pool(1))
        self._all.append(one)
        return one

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """All of them at once: a process takes a while to end."""
        if self._all:
            with ThreadPoolExecutor(len(self._all)) as threads:
                list(threads.map(lambda one: one.shutdown(wait, cancel_futures=cancel_futures), self._all))


def _open_files(count: int) -> None:
    """Lets this process open that many more, as far as the system does."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = count + 256
    if soft != resource.RLIM_INFINITY and soft < need:
        most = need if hard == resource.RLIM_INFINITY else min(need, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
        if soft < need:
            raise BadRequest(
                f"a process may open {soft} files here, enough for --jobs {max(1, (soft - 256) // FILES_EACH)}; "
                "ask for no more, or for more files by `ulimit -n`"
            )


def writable(folder: Path) -> Path:
    """The folder, made if it was not there.

    Raises:
        BadRequest: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable.{_process.name()}.part"
        probe.write_bytes(b"1" * 4096)
        probe.unlink()
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        why = getattr(error, "strerror", None) or error
        raise BadRequest(f"{folder} cannot be written to ({why}); name another folder by --out") from None
    return folder.absolute()
