"""Runs the points of a sweep on any concurrent.futures.Executor: processes here, or a dask cluster.

A point is a run of `hierlib.book.runs.run`, in a folder named by its key: what is there is skipped, so a sweep that was
stopped, however, goes on where it was. A point that has failed stays failed until a retry is asked for.
"""

import asyncio
import contextlib
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

import hierlib
from hierlib.book.page.stamp import versions
from hierlib.book.runs.params import BadRequest
from hierlib.book.runs.point import ENVIRONMENT, environment
from hierlib.book.runs.run import Job, Outcome, died, execute, expected_seconds, failed_folder, finished, identity, pool

DEAD = "its process died; was there enough memory?"


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
    crew: int = 0  #: how many workers there were

    def add(self, outcome: Outcome) -> None:
        if outcome.halt:
            self.halted = outcome.error
        elif outcome.error:
            self.failed.append(outcome)
        else:
            self.ran += 1
            self.seconds += outcome.seconds


@dataclass(frozen=True)
class Crew:
    """Workers: an executor, how many there are, and what tells that one has died under a point."""

    executor: Executor
    size: int
    dead: tuple[type[BaseException], ...] = (BrokenProcessPool,)


Hire = Callable[[int], contextlib.AbstractContextManager[Crew]]


def take_stock(jobs: Iterable[Job], *, retry: bool = False) -> Tally:
    """Which points are there, which have failed before, and which are to be run."""
    tally = Tally([])
    for job in jobs:
        if finished(job):
            tally.there += 1
        elif not retry and failed_folder(job).is_dir():
            tally.earlier.append(job)
        else:
            tally.todo.append(job)
    return tally


def run(tally: Tally, hire: Hire, *, batch: int = 1, tell: Callable[[Outcome], None] = lambda _: None) -> None:
    """Runs what is to be done, `batch` points a task, and counts it in the tally.

    Points whose process died run again one by one, so that the one that kills its process fails alone.

    Args:
        hire: opens a crew of so many workers at most.
        tell: hears of each point as it ends.
    """

    def note(outcome: Outcome) -> None:
        tally.add(outcome)
        tell(outcome)

    pending = deque(tally.todo[i : i + batch] for i in range(0, len(tally.todo), batch))
    while pending and tally.halted is None:
        with hire(len(pending)) as crew:
            tally.crew = crew.size
            suspects = _work(crew, pending, note, lambda: tally.halted is not None, 2 * crew.size + 2)
        alone = deque([job] for group in suspects for job in group)
        while alone and tally.halted is None:
            with hire(1) as crew:
                for [job] in _work(crew, alone, note, lambda: tally.halted is not None, 1):
                    note(died(job, DEAD))


def execute_all(jobs: Iterable[Job], workers: int, tell: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
    """Runs jobs in processes, the slowest known first; `tell` hears of each as it ends. All of them get an outcome:
    after a halt those that were to come have its reason for their error."""
    jobs, outcomes = list(jobs), {}

    def note(outcome: Outcome) -> None:
        tell(outcomes.setdefault(outcome.job.folder, outcome))

    todo = []
    for job in sorted(jobs, key=expected_seconds, reverse=True):
        note(execute(job)) if finished(job) and not job.force else todo.append(job)
    tally = Tally(todo)
    run(tally, lambda most: processes(min(most, workers)), tell=note)
    for job in todo:
        if job.folder not in outcomes:
            note(Outcome(job, job.folder, 0.0, error=tally.halted, halt=True))
    return [outcomes[job.folder] for job in jobs]


def _work(crew: Crew, pending: deque, note: Callable, stop: Callable[[], bool], ahead: int) -> list[Sequence[Job]]:
    """Takes tasks off `pending` until it is empty; returns those that were with the crew when one of it died.

    Args:
        ahead: how many tasks are submitted at once, so that no worker waits and no queue grows.
    """
    flying, done, lost = {}, SimpleQueue(), []
    while (pending and not lost and not stop()) or flying:
        while pending and not lost and not stop() and len(flying) < ahead and done.empty():
            task = pending.popleft()
            try:
                future = crew.executor.submit(_execute_many, task)
            except BrokenProcessPool:
                lost.append(task)
                break
            flying[future] = task
            future.add_done_callback(done.put)
        if not flying:
            break
        future = done.get()
        task = flying.pop(future)
        try:
            for job, (seconds, cached, error, halt) in zip(task, future.result()):
                note(Outcome(job, failed_folder(job) if error else job.folder, seconds, cached, error, halt))
        except crew.dead:
            lost.append(task)
        except (CancelledError, asyncio.CancelledError):
            note(Outcome(task[0], task[0].folder, 0.0, error="the scheduler of the cluster is gone", halt=True))
        except Exception as error:  # of the crew, not of a point: a point's own is in its outcome
            why = f"a worker could not take a task: {type(error).__name__}: {str(error).strip()[:300]}"
            note(Outcome(task[0], task[0].folder, 0.0, error=why, halt=True))
    return lost


def _execute_many(task: Sequence[Job]) -> list[tuple]:
    """On the worker. What goes back is small: the jobs are known there."""
    out = []
    for job in task:
        outcome = execute(job)
        out.append((outcome.seconds, outcome.cached, outcome.error, outcome.halt))
        if outcome.halt:
            break
    return out


@contextlib.contextmanager
def processes(size: int) -> Iterator[Crew]:
    """Processes of this machine, one thread each."""
    with environment(ENVIRONMENT), pool(size) as executor:  # before they import torch
        yield Crew(executor, size)


@contextlib.contextmanager
def cluster(
    where: str, chapter, out: Path, *, resources: dict[str, float] | None = None, wait: float = 10
) -> Iterator[Crew]:
    """The workers of a dask cluster, after a look at whether they can do this sweep.

    Args:
        where: the address of a scheduler, tcp://host:port, or local:N for N workers of this machine.
        chapter: what is swept.
        out: the folder of the results, which every worker must see.
        resources: what a point needs of a worker, {"GPU": 1}; a local cluster's workers have it.
        wait: seconds for the scheduler to answer, and for a first worker to come.

    Raises:
        BadRequest: no such address, no answer, no worker, or workers with other code, versions or folders.
    """
    local = re.fullmatch(r"local:(\d{1,4})", where)
    if not (local and 1 <= int(local[1]) <= 512) and not re.fullmatch(r"(tcp|tls|ws|wss|ucx)://\S+:\d{1,5}", where):
        raise BadRequest(f"--cluster {where}: expected tcp://host:port, or local:N with 1 to 512 workers")
    try:
        from dask.distributed import Client, LocalCluster
        from distributed.scheduler import KilledWorker
    except ModuleNotFoundError:
        raise BadRequest("a cluster needs dask: pip install 'hierlib[cluster]'") from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        stack.enter_context(environment(ENVIRONMENT))
        if local:
            options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "resources": resources}
            try:
                address = stack.enter_context(
                    LocalCluster(n_workers=int(local[1]), processes=True, silence_logs=50, **options)
                )
            except (OSError, RuntimeError) as error:  # a TimeoutError is an OSError
                raise BadRequest(
                    f"--cluster {where}: its workers do not start ({error}); try fewer, or --jobs {local[1]} without it"
                ) from None
        else:
            address = where
        try:
            client = stack.enter_context(Client(address, timeout=wait, set_as_default=False))
        except (OSError, TimeoutError, ValueError):
            raise BadRequest(
                f"no scheduler answers at {where} within {wait:g} s; is it running (`dask scheduler`), and may this "
                "machine connect to it? Without one: --cluster local:2"
            ) from None
        workers = _check(client, chapter, out, resources, wait)
        executor = client.get_executor(pure=False, retries=0, resources=resources)
        yield Crew(executor, workers, (KilledWorker,))


def _check(client, chapter, out: Path, resources: dict | None, wait: float) -> int:
    """How many workers can do the sweep; all must fit, lest a point run where it gives something else."""
    try:
        client.wait_for_workers(1, timeout=wait)
    except TimeoutError:
        raise BadRequest(
            f"the scheduler has no worker, and none has come within {wait:g} s; start some (`dask worker ADDRESS "
            "--nthreads 1`), or let the sweep wait for them: --wait SECONDS"
        ) from None
    probe = out / f".{os.getpid()}.seen"
    probe.touch()
    try:
        found = client.run(worker_facts, chapter, probe, on_error="return")
    finally:
        probe.unlink(missing_ok=True)
    mine, threads = worker_facts(chapter, out), client.nthreads()
    for address, facts in found.items():
        if isinstance(facts, BaseException):
            raise BadRequest(f"the worker {address} cannot run this: {type(facts).__name__}: {facts}; install {mine}")
        wrong = [f"{k} {facts.get(k, 'unknown')} (here {mine[k]})" for k in mine if facts.get(k) != mine[k]]
        if threads.get(address, 1) != 1:
            wrong.append(f"{threads[address]} threads (start it with --nthreads 1)")
        if wrong:
            raise BadRequest(
                f"the worker {address} does not fit: {', '.join(wrong)}.\nWorkers need the environment of this "
                "machine (requirements.lock), the same checkout, and the results' folder under the same path"
            )
    if resources:
        have = _resources(client)
        able = [a for a, r in have.items() if all(r.get(k, 0) >= n for k, n in resources.items())]
        if not able:
            need = " ".join(f"{k}={n:g}" for k, n in resources.items())
            raise BadRequest(f"no worker has {need}; start it with `dask worker … --resources {need}`")
        return len(able)
    return len(found)


def worker_facts(chapter, seen: Path) -> dict[str, str]:
    """What must be alike on every worker: versions, the code of what is swept and its library, the folder there."""
    import dask
    import distributed

    return {
        **versions(),
        **{"dask": dask.__version__, "distributed": distributed.__version__},
        "the code and lock file": identity(chapter),
        "the library's folder": str(Path(hierlib.__file__).resolve().parent),
        "the results' folder seen": str(seen.exists()),
    }


def _resources(client) -> dict[str, dict[str, float]]:
    try:
        info = client.scheduler_info(n_workers=-1)
    except TypeError:  # before 2025 it told of all workers
        info = client.scheduler_info()
    return {address: worker.get("resources", {}) for address, worker in info["workers"].items()}


def writable(folder: Path) -> Path:
    """The folder, made if it was not there.

    Raises:
        BadRequest: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.writable"
        probe.write_bytes(b"1" * 4096)
        probe.unlink()
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        why = getattr(error, "strerror", None) or error
        raise BadRequest(f"{folder} cannot be written to ({why}); name another folder by --out") from None
    return folder.absolute()
