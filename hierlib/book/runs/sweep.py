"""Runs the points of a sweep on any concurrent.futures.Executor: processes here, or a dask cluster.

A point is a run of `hierlib.book.runs.run`, in a folder named by its key: what is there is skipped, so a sweep that was
stopped, however, goes on where it was. A point that has failed stays failed until a retry is asked for.

A point whose process dies under it may be innocent: others had taken the memory, or somebody stopped the worker. It
runs once more, alone, after all others; if its process dies then, too, it has failed. Which point it was is told by a
mark that a worker leaves beside the results while it is at one, so that no scheduler can hand it on to the next worker.
"""

import contextlib
import logging
import re
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue

import hierlib
from hierlib import _process
from hierlib._provenance import versions
from hierlib.book.runs.params import BadRequest
from hierlib.book.runs.point import ENVIRONMENT, environment
from hierlib.book.runs.run import Job, Outcome, died, execute, expected_seconds, failed_folder, finished, identity, pool

DEAD = "its process died; was there enough memory?"
FILES_EACH = 10  # that a process of one's own keeps open in this one


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
        """Counts a point that has ended."""
        if outcome.halt:
            self.halted = outcome.error
        elif outcome.error:
            self.failed.append(outcome)
        else:
            self.ran += 1
            self.seconds += outcome.seconds


@dataclass(frozen=True)
class Crew:
    """Workers.

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

    Args:
        hire: opens a crew of so many workers at most.
        tell: hears of each point as it ends.
    """
    label = f"{uuid.uuid4().hex[:8]}.{_process.name()}"

    def note(outcome: Outcome) -> None:
        tally.add(outcome)
        tell(outcome)

    def failed(job: Job) -> None:
        _mark(job, label).unlink(missing_ok=True)
        note(died(job, DEAD))

    def work(crew: Crew, tasks: Iterable[Sequence[Job]], lost: Callable[[Job], None]) -> None:
        _work(crew, deque(tasks), label, note, lost, lambda: tally.halted is not None)

    groups, suspects = [tally.todo[i : i + batch] for i in range(0, len(tally.todo), batch)], []
    if groups:
        with hire(len(groups)) as crew:
            tally.crew = crew.size
            work(crew, groups, suspects.append if crew.size > 1 else failed)
    for job in suspects:
        _mark(job, label).unlink(missing_ok=True)
    if suspects and tally.halted is None:
        with hire(1) as crew:
            work(replace(crew, ahead=1), ([job] for job in suspects), failed)


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


def _work(crew: Crew, pending: deque, label: str, note: Callable, lost: Callable, stop: Callable[[], bool]) -> None:
    """Takes tasks off `pending` until it is empty.

    Args:
        label: of the marks.
        note: hears of each point that has ended.
        lost: hears of each point under which a process has died.
        stop: whether no more tasks are to be begun.
    """
    running, done = {}, SimpleQueue()

    def halt(task: Sequence[Job], why: str) -> None:
        note(Outcome(task[0], task[0].folder, 0.0, error=why, halt=True))

    while (pending and not stop()) or running:
        while pending and not stop() and len(running) < crew.ahead and done.empty():
            task = pending.popleft()
            try:
                future = crew.executor.submit(execute_many, task, label)
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
        elif (error := future.exception()) is None:
            for job, ended in zip(task, future.result()):
                if ended is None:
                    lost(job)
                else:
                    seconds, cached, why, stopped = ended
                    note(Outcome(job, failed_folder(job) if why else job.folder, seconds, cached, why, stopped))
        elif isinstance(error, crew.dead):
            begun = [job for job in task if _mark(job, label).exists()] or task
            for job in begun:
                lost(job)
            if others := [job for job in task if job not in begun]:
                pending.append(others)
        else:  # of the crew, not of a point: a point's own is in its outcome
            halt(task, f"a worker could not take a task: {_in_words(error)}")


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip()[:300]}"


def execute_many(task: Sequence[Job], label: str) -> list[tuple | None]:
    """On the worker. What goes back is small: the jobs are known there.

    Returns:
        For each job seconds, whether it was there, what was raised, and whether all must stop; None for one that has
        been begun before, by a process that has died since or that the scheduler has given up.
    """
    out: list[tuple | None] = []
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
def processes(size: int) -> Iterator[Crew]:
    """Processes of this machine, one thread each."""
    with environment(ENVIRONMENT), contextlib.ExitStack() as stack:  # before they import torch
        _open_files(FILES_EACH * size)
        executor = _Apart(stack)
        yield Crew(executor, size, ahead=size)
        executor.shutdown()


class _Apart(Executor):
    """Processes, each with an executor of its own: one that dies takes no other with it."""

    def __init__(self, stack: contextlib.ExitStack):
        self._stack, self._all, self._idle = stack, [], deque()

    def submit(self, fn, /, *args, **kwargs):
        """For a process that is idle, or a new one."""
        one = self._idle.pop() if self._idle else self._start()
        try:
            future = one.submit(fn, *args, **kwargs)
        except BrokenProcessPool:  # it died while it was idle
            one = self._start()
            future = one.submit(fn, *args, **kwargs)
        future.add_done_callback(
            lambda done: done.cancelled() or isinstance(done.exception(), BrokenProcessPool) or self._idle.append(one)
        )
        return future

    def _start(self) -> Executor:
        one = self._stack.enter_context(pool(1))
        self._all.append(one)
        return one

    def shutdown(self, wait=True, *, cancel_futures=False):
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
        seen = out / f".seen.{_process.name()}.part"
        stack.callback(seen.unlink, missing_ok=True)
        seen.touch()
        workers = _check(client, chapter, seen, resources, wait)
        executor = _Dask(client.get_executor(pure=False, retries=0, resources=resources), seen)
        yield Crew(executor, workers, 2 * workers + 2, (KilledWorker,))


class _Dask(Executor):
    """Hands tasks to the workers of a cluster, also to those that join it later."""

    def __init__(self, executor: Executor, seen: Path):
        self._executor, self._seen = executor, seen

    def submit(self, fn, /, *args, **kwargs):
        return self._executor.submit(_on_worker, self._seen, fn, *args, **kwargs)


_TURN = threading.Lock()


def _on_worker(seen: Path, fn: Callable, *args):
    """A point sets the environment, the threads and the random numbers of its process: one at a time, though a worker
    that has joined later may have several threads."""
    with _TURN:
        if not seen.exists():
            return [(0.0, False, f"a worker that has joined does not see the results' folder {seen.parent}", True)]
        return fn(*args)


def _check(client, chapter, seen: Path, resources: dict | None, wait: float) -> int:
    """How many workers can do the sweep; all must fit, lest a point run where it gives something else."""
    try:
        client.wait_for_workers(1, timeout=wait)
    except TimeoutError:
        raise BadRequest(
            f"the scheduler has no worker, and none has come within {wait:g} s; start some (`dask worker ADDRESS "
            "--nthreads 1`), or let the sweep wait for them: --wait SECONDS"
        ) from None
    found = client.run(worker_facts, chapter, seen, on_error="return")
    mine, threads = worker_facts(chapter, seen), client.nthreads()
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
        probe = folder / f".writable.{_process.name()}.part"
        probe.write_bytes(b"1" * 4096)
        probe.unlink()
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        why = getattr(error, "strerror", None) or error
        raise BadRequest(f"{folder} cannot be written to ({why}); name another folder by --out") from None
    return folder.absolute()
