"""A run that did not end has failed, and ends no other."""

import os
import re
import signal

import pytest

from hierlib.book.runs import sweep as sweeping
from hierlib.book.runs.cluster import dask_workers
from hierlib.book.runs.run import execute, finished, prepare
from hierlib.book.runs.sweep import plan, run
from tests import sweeps, tiny
from tests.faults.test_faults import until

LEAVING = '''
import asyncio
import sys
import time
from concurrent.futures import CancelledError
from pathlib import Path

import xarray as xr

HERE = Path(__file__).parents[1]

LEAVING = """\\
way: int = 0  # of leaving
"""


class Own(BaseException):
    pass


def leaving(*, way):
    ways = [SystemExit(0), SystemExit("no more"), KeyboardInterrupt(), CancelledError()]
    ways += [asyncio.CancelledError(), Own()]
    if way < len(ways):
        raise ways[way]
    return xr.Dataset({"way": way})


SLEEPING = """\\
way: int = 0  # a label
"""


def sleeping(*, way):
    (HERE / f"asleep-{way}").touch()
    for _ in range(3000):
        time.sleep(0.02)
    return xr.Dataset({"x": way})
'''
WAYS = ["SystemExit: 0", "SystemExit: no more", "KeyboardInterrupt: no message", "CancelledError: no message"]
WAYS += ["CancelledError: no message", "Own: no message"]


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = sweeps.make(tmp_path / "checkout", **{"02_early": tiny.page("Early", "1", "2", "3")})
    (root / "book" / "quantities.py").write_text(LEAVING)
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize("where", ["processes", "dask"])
def test_a_point_that_ends_its_process_politely_fails_alone(root, where):
    """With what it raised, once; and the points after it run."""
    jobs = sweeps.jobs(root, "leaving", root / "out", way="0:9")
    tally = plan(jobs)
    sweeping.writable(root / "out")
    each = jobs[0].target
    ways = {"processes": lambda most: sweeping.processes(1)}
    ways["dask"] = lambda most: dask_workers("local:1", each, root / "out", wait=120)
    run(tally, ways[where], batch=2)
    assert tally.halted is None and tally.ran == 3
    assert [o.error for o in sorted(tally.failed, key=lambda o: o.job.values["way"])] == WAYS
    assert "raise ways[way]" in (tally.failed[0].folder / "traceback.txt").read_text()
    assert [finished(job) for job in jobs] == [False] * 6 + [True] * 3


def test_the_command_says_so(root):
    code, out = tiny.finish(tiny.hierlib(root, "sweep", "leaving", "-p", "way", "0,7,8", "--jobs", "2", "--out", "out"))
    assert code == 1 and "2 run, 0 there already, 1 failed" in out and "failed: the defaults: SystemExit: 0" in out


def test_ctrl_c_in_a_terminal_marks_no_point_as_failed(root):
    """It reaches the workers, too; they leave the points to be run again."""
    process = tiny.hierlib(root, "sweep", "sleeping", "-p", "way", "0:4", "--jobs", "2", "--out", "out",
                           start_new_session=True)  # fmt: skip
    until(lambda: len(list(root.glob("asleep-*"))) == 2)
    os.killpg(process.pid, signal.SIGINT)
    code, out = tiny.finish(process, 60)
    assert code == 130 and "the same command goes on" in out
    assert not list((root / "out").glob("*-failed"))


def test_ctrl_c_in_this_process_is_no_failure(root):
    job = sweeps.jobs(root, "leaving", root / "out", way="2")[0]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            execute(job)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not list((root / "out").iterdir())


@pytest.mark.parametrize(
    "cell, why",
    [
        ("import sys\nsys.exit(0)", "the cell was ended by SystemExit, and 1 after it did not run"),
        ("import sys\nsys.exit()", "the cell was ended by SystemExit, and 1 after it did not run"),
        ("raise SystemExit", "the cell was ended by SystemExit, and 1 after it did not run"),
        ("raise KeyboardInterrupt", "^KeyboardInterrupt"),
        ("import asyncio\nraise asyncio.CancelledError", "^CancelledError"),
        ("exit()", "the cell ends the kernel; a chapter ends with its last cell"),
        ("quit", "the cell ends the kernel"),
        ("import os\nos._exit(0)", "^DeadKernelError"),
    ],
)
def test_a_chapter_that_ends_early_has_failed(root, cell, why):
    page = root / "book" / "02_early.md"
    page.write_text(page.read_text().replace("\n2\n", f"\n{cell}\n"))
    for given in ({}, {"m": 3}):  # without and with a cell of papermill's own
        done = execute(prepare(tiny.get(root, "early"), given))
        assert re.search(why, done.error)
        line = page.read_text().splitlines().index(cell.splitlines()[0]) + 1
        assert "Runtime" not in done.error or f"book/02_early.md:{line}: " in done.error
        assert done.left.suffix == ".ipynb" and done.left.parent.name.endswith("-failed")


def test_a_last_cell_that_exits_a_cell_without_code_and_one_that_is_left_out(root):
    page = root / "book" / "02_early.md"
    text = page.read_text()
    page.write_text(text.replace("\n3\n", "\nraise SystemExit(0)\n"))
    assert "the cell was ended by SystemExit; a chapter ends" in execute(prepare(tiny.get(root, "early"))).error
    page.write_text(
        text.replace("\n2\n", "\n# nothing\n").replace("ipython3\n3", "ipython3\n:tags: [skip-execution]\n\n3")
    )
    assert execute(prepare(tiny.get(root, "early"))).error is None
