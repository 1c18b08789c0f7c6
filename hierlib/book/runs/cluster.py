"""The workers of a dask cluster for the points of a sweep; all that knows dask is here."""

import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import hierlib
from hierlib import _process
from hierlib._provenance import versions
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.point import ENVIRONMENT, environment
from hierlib.book.runs.run import identity
from hierlib.book.runs.sweep import Workers
from hierlib.book.runs.targets import Target

if TYPE_CHECKING:
    from dask.distributed import Client

P = ParamSpec("P")


@contextlib.contextmanager
def dask_workers(
    where: str, target: Target, out: Path, *, resources: dict[str, float] | None = None, wait: float = 10
) -> Iterator[Workers]:
    """The workers of a dask cluster, after a look at whether they can do this sweep.

    Args:
        where: the address of a scheduler, tcp://host:port, or local:N for N workers of this machine.
        target: what is swept.
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
        count = _check(client, target, seen, resources, wait)
        executor = _Dask(client.get_executor(pure=False, retries=0, resources=resources), seen)
        yield Workers(executor, count, 2 * count + 2, (KilledWorker,))


class _Dask(Executor):
    """Hands tasks to the workers of a cluster, also to those that join it later."""

    def __init__(self, executor: Executor, seen: Path):
        self._executor, self._seen = executor, seen

    def submit(self, fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> Future:
        """The task, to be done by `_on_worker`."""
        return self._executor.submit(_on_worker, self._seen, fn, *args, **kwargs)


_TURN = threading.Lock()


def _on_worker(seen: Path, fn: Callable, *args: object) -> object:
    """A point sets the environment, the threads and the random numbers of its process: one at a time, though a worker
    that has joined later may have several threads."""
    with _TURN:
        if not seen.exists():
            return [(0.0, False, f"a worker that has joined does not see the results' folder {seen.parent}", True)]
        return fn(*args)


def _check(client: "Client", target: Target, seen: Path, resources: dict | None, wait: float) -> int:
    """How many workers can do the sweep; all must fit, lest a point run where it gives something else."""
    try:
        client.wait_for_workers(1, timeout=wait)
    except TimeoutError:
        raise BadRequest(
            f"the scheduler has no worker, and none has come within {wait:g} s; start some (`dask worker ADDRESS "
            "--nthreads 1`), or let the sweep wait for them: --wait SECONDS"
        ) from None
    found = client.run(worker_facts, target, seen, on_error="return")
    mine, threads = worker_facts(target, seen), client.nthreads()
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


def worker_facts(target: Target, seen: Path) -> dict[str, str]:
    """What must be alike on every worker: versions, the code of what is swept and its library, the folder there."""
    import dask
    import distributed

    return {
        **versions(),
        **{"dask": dask.__version__, "distributed": distributed.__version__},
        "the code and lock file": identity(target),
        "the library's folder": str(Path(hierlib.__file__).resolve().parent),
        "the results' folder seen": str(seen.exists()),
    }


def _resources(client: "Client") -> dict[str, dict[str, float]]:
    try:
        info = client.scheduler_info(n_workers=-1)
    except TypeError:  # before 2025 it told of all workers
        info = client.scheduler_info()
    return {address: worker.get("resources", {}) for address, worker in info["workers"].items()}
