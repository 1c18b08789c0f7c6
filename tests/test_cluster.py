"""Sweeps on a dask cluster: what is refused, and what its workers do; killed ones are in tests/faults."""

import sys
import threading
import time

import pytest

from hierlib.book.runs import cluster
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.sweep import plan, run
from hierlib.book.runs.targets import find_target
from tests import sweeps


def test_without_dask(root, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    code, out = call("sweep", "noise", "--cluster", "local:2")
    assert code == 2 and "pip install 'hierlib[cluster]'" in out


def test_a_local_cluster_that_does_not_start(root, call, monkeypatch):
    def start(**_):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr("dask.distributed.LocalCluster", start)
    code, out = call("sweep", "noise", "--cluster", "local:400")
    assert code == 2 and "workers do not start (Nanny failed to start.); try fewer, or --jobs 400 without it" in out


class FakeClient:
    """A cluster of one worker, as `_check` sees it."""

    def __init__(self, threads=1, resources=None, empty=False, **other):
        self.threads, self.resources, self.empty, self.other = threads, resources or {}, empty, other

    def wait_for_workers(self, count, timeout):
        if self.empty:
            raise TimeoutError

    def run(self, function, *args, on_error):
        facts = {**function(*args), **self.other}
        return {"tcp://w": self.other.get("error") or {k: v for k, v in facts.items() if v}}

    def nthreads(self):
        return {"tcp://w": self.threads}

    def scheduler_info(self, n_workers):
        return {"workers": {"tcp://w": {"resources": self.resources}}}


@pytest.mark.parametrize(
    "client, needs, why",
    [
        (FakeClient(), None, None),
        (FakeClient(resources={"GPU": 2}), {"GPU": 1}, None),
        (FakeClient(resources={"GPU": 0.5}), {"GPU": 1}, r"no worker has GPU=1; .*--resources GPU=1"),
        (FakeClient(torch="1.0"), None, r"does not fit: torch 1\.0 \(here .*requirements\.lock"),
        (FakeClient(python="3.9.0"), None, r"does not fit: python 3\.9\.0"),
        (FakeClient(distributed="2020.1"), None, "does not fit: distributed"),
        (FakeClient(distributed=None), None, "does not fit: distributed unknown"),  # its library is an older one
        (FakeClient(**{"the code and lock file": "0"}), None, "does not fit: the code and lock file"),
        (FakeClient(**{"the library's folder": "/other/hierlib"}), None, "does not fit: the library's folder"),
        (FakeClient(**{"the results' folder seen": "False"}), None, "does not fit: the results' folder"),
        (FakeClient(threads=4), None, "4 threads .start it with --nthreads 1"),
        (FakeClient(error=ModuleNotFoundError("hierlib")), None, "cannot run this: ModuleNotFoundError: hierlib"),
        (FakeClient(empty=True), None, "no worker, and none has come within 5 s"),
    ],
)
def test_workers_that_do_not_fit(root, tmp_path, client, needs, why):
    def check():
        return cluster._check(client, find_target(root, "noise"), tmp_path, needs, 5)

    if why is None:
        assert check() == 1
    else:
        with pytest.raises(BadRequest, match=rf"(?s){why}"):
            check()


def test_a_worker_with_threads_does_one_point_at_a_time(tmp_path):
    """A point sets the environment of its process."""
    inside, most = [], []

    def point(number):
        inside.append(number)
        most.append(len(inside))
        time.sleep(0.01)
        inside.remove(number)
        return number

    answers = []
    threads = [
        threading.Thread(target=lambda i=i: answers.append(cluster._on_worker(tmp_path, point, i))) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(8)) and max(most) == 1


def test_a_worker_that_joins_with_another_file_system_stops_the_sweep(root, tmp_path):
    """What it computed would be nowhere."""
    tally = plan(sweeps.jobs(root, "noise", root / "out", a="1:4"))
    executor = cluster._Dask(sweeps.AtOnce(), tmp_path / "not" / "there")
    with sweeps.here() as workers:
        run(tally, lambda _: sweeps.with_executor(workers, executor))
    assert "does not see the results' folder" in tally.halted and tally.ran == 0
    assert not list((root / "out").glob("*"))


class Refusing(sweeps.AtOnce):
    """An executor of which the connection is gone."""

    def submit(self, fn, /, *args, **kwargs):
        raise RuntimeError("cannot schedule new futures after shutdown")


def test_workers_that_take_nothing_stop_the_sweep(root):
    tally = plan(sweeps.jobs(root, "noise", root / "out", a="1:4"))
    with sweeps.here() as workers:
        run(tally, lambda _: sweeps.with_executor(workers, Refusing()))
    assert tally.halted.startswith("a task could not be given to a worker: RuntimeError: cannot schedule")
    assert len(tally.todo) == 3 and not tally.failed
