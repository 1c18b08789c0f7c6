"""Faults on real processes; the table in README.md says what each must not do."""

import json
import os
import random
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hierlib.book.runs import collect as collecting
from hierlib.book.runs import sweep as sweeping
from hierlib.book.runs.cluster import dask_workers
from hierlib.book.runs.run import clear_parts, died, finished
from hierlib.book.runs.sweep import plan, run
from tests import sweeps, tiny


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = sweeps.make(tmp_path / "checkout")
    monkeypatch.chdir(root)
    return root


def until(condition, seconds=150):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


def whole(out):
    """The finished points below a folder, and nothing there that is neither one nor hidden."""
    folders = [p for p in out.glob("*") if not p.name.startswith(".")]
    for folder in folders:
        facts = json.loads((folder / "run.json").read_text("utf-8"))
        assert set(facts["files"]) == {"data/noise.nc"}, "a folder that has its name is whole"
    return {folder.name for folder in folders}


def test_killed_twice_at_random_moments(root):
    """SIGKILL of the command: what has finished stays as it is, the rest resumes, and the arrays are those of a run
    that nothing has disturbed."""
    words = ("sweep", "noise", "-p", "a", "1:4", "-p", "seed", "0:8", "-p", "seconds", "0.15", "--out", "out")
    out, kept, moment = root / "out", {}, random.SystemRandom()
    for _ in range(2):
        process = tiny.hierlib(root, *words, "--jobs", "2", start_new_session=True)
        before = len({name.split("/")[0] for name in kept})
        until(lambda least=before: out.exists() and len(whole(out)) > least)
        time.sleep(moment.uniform(0, 0.6))
        process.kill()
        assert tiny.finish(process)[0] == -9
        now = sweeps.stamps(out)
        assert {k: now[k] for k in kept} == kept, "what was whole has not been touched"
        kept = {k: v for k, v in now.items() if not k.startswith(".")}
    done = len({name.split("/")[0] for name in kept})
    code, text = tiny.finish(tiny.hierlib(root, *words, "--jobs", "2"))
    assert code == 0, text
    there = int(text.split(" points, ")[1].split(" there")[0])
    assert done <= there <= done + 4, "a worker may have ended its point after the kill"
    now = sweeps.stamps(out)
    assert {k: now[k] for k in kept} == kept
    assert len(whole(out)) == 24 and not sweeps.leftovers(out)
    run(plan(sweeps.jobs(root, "noise", root / "calm", a="1:4", seed="0:8", seconds="0.15")), sweeps.here)
    assert sweeps.arrays(out) == sweeps.arrays(root / "calm")


def test_a_dask_worker_killed_mid_run(root):
    """Its nanny starts another, and the point runs again: nothing is lost, nothing counts as failed."""
    jobs, killed = sweeps.jobs(root, "waiting", root / "out", a="1:7"), []

    def kill():
        try:
            first = until(lambda: sorted(root.glob("pid-*")))[0]  # this point has begun, and cannot end
            killed.append(int(first.name.split("-")[2]))
            os.kill(killed[0], signal.SIGKILL)
        finally:
            (root / "go").touch()

    thread = threading.Thread(target=kill)
    thread.start()
    tally = plan(jobs)
    sweeping.writable(root / "out")
    each = jobs[0].target  # the workers have a GPU, as far as dask knows
    run(tally, lambda _: dask_workers("local:2", each, root / "out", resources={"GPU": 1}, wait=120))
    thread.join()
    assert killed and tally.workers == 2
    assert (tally.ran, tally.failed, tally.halted) == (6, [], None)
    assert all(map(finished, jobs)) and not list((root / "out").glob("*-failed"))
    assert collecting.collect(root / "out").data["square"].values.tolist() == [1, 4, 9, 16, 25, 36]


def ran(root):
    """How often each point of `killer` has run."""
    return [len(list(root.glob(f"ran-{a}-*"))) for a in range(1, 7)]


@pytest.mark.parametrize("where, batch", [("processes", 1), ("processes", 3), ("alone", 1), ("cluster", 3)])
def test_a_point_that_kills_its_process_fails_alone(root, where, batch):
    """It runs a second time if others were at work, and never a third; its neighbours run once."""
    jobs = sweeps.jobs(root, "killer", root / "out", a="1:7")
    tally, each = plan(jobs), jobs[0].target
    sweeping.writable(root / "out")
    size = 1 if where == "alone" else 2
    ways = {"cluster": lambda _: dask_workers("local:2", each, root / "out", wait=120)}
    run(tally, ways.get(where, lambda most: sweeping.processes(min(most, size))), batch=batch)
    assert [o.job.values["a"] for o in tally.failed] == [2] and tally.ran == 5 and tally.halted is None
    assert ran(root) == [1, size, 1, 1, 1, 1]
    assert "its process died" in (tally.failed[0].folder / "traceback.txt").read_text()
    if where != "cluster":  # there the folder of what a dead worker had begun is left to `clear_parts`
        clear_parts(root / "out")
        assert not sweeps.leftovers(root / "out")
    again = plan(jobs)
    assert not again.todo and [job.values["a"] for job in again.earlier] == [2], "not run again without a request"
    assert len(plan(jobs, retry=True).todo) == 1


FULL = """\
mkdir small && mount -t tmpfs -o size=1m tmpfs small || exit 9
{sweep}; echo "code $?"; cp -a small first
mount -o remount,size=64m small
{sweep}; echo "code $?"; cp -a small second
"""
BIG = ("sweep", "big", "-p", "a", "0:10", "--jobs", "1", "--out", "small")


def test_a_full_disk(root):
    """A file system of 1 MB takes some points; with more room the same command does the others."""
    mount = sweeps.can_mount()
    if mount is None:
        pytest.skip("Not tested: a full disk, for this system lets nobody mount one; a limit on files stands in")
    sweep = shlex.join([sys.executable, "-m", "hierlib.book", *BIG]) + " 2>&1"
    script = [*mount, "sh", "-c", FULL.format(sweep=sweep)]
    done = subprocess.run(script, cwd=root, text=True, capture_output=True, timeout=400)
    assert re.findall(r"^code (\d+)", done.stdout, re.M) == ["1", "0"], done.stdout + done.stderr
    assert "No space left" in done.stdout and "failed:" not in done.stdout
    assert re.search(r"Stopped with \d points to go: nothing can be written(.|\n)*goes on from there", done.stdout)
    first, second = sweeps.arrays(root / "first"), sweeps.arrays(root / "second")
    assert 2 <= len(first) <= 8 and len(list((root / "first").iterdir())) == len(first), "what did not fit is gone"
    assert len(second) == 10 and second | first == second


def test_files_that_may_not_grow(root):
    """The same under a limit on the size of a file, which needs no file system of one's own."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))

    command = [sys.executable, "-m", "hierlib.book", *BIG]
    done = subprocess.run(command, cwd=root, text=True, capture_output=True, timeout=400, preexec_fn=limit)
    assert done.returncode == 1 and "Stopped with 10 points to go: nothing can be written" in done.stdout, done
    assert not list((root / "small").iterdir())


def test_two_sweeps_into_one_folder(root):
    words = ("sweep", "noise", "-p", "a", "1:4", "-p", "seed", "0:4", "--out", "out", "--jobs", "1")
    both = [tiny.hierlib(root, *words) for _ in range(2)]
    ends = [tiny.finish(process) for process in both]
    assert [code for code, _ in ends] == [0, 0], ends
    assert len(whole(root / "out")) == 12 and not sweeps.leftovers(root / "out")
    run(plan(sweeps.jobs(root, "noise", root / "calm", a="1:4", seed="0:4")), sweeps.here)
    assert sweeps.arrays(root / "out") == sweeps.arrays(root / "calm")


def test_an_interrupt_ends_it_and_says_so(root):
    process = tiny.hierlib(root, "sweep", "waiting", "-p", "a", "1:4", "--out", "out", "--jobs", "1")
    [pid] = until(lambda: list(root.glob("pid-*")))
    process.send_signal(signal.SIGINT)
    code, text = tiny.finish(process)
    assert code == 130 and "the same command goes on from there" in text
    until(lambda: gone(pid.name.split("-")[2]))


def gone(pid):
    """Ended, whether or not anybody has asked for its exit status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_dead_process_leaves_a_folder_that_says_so(root):
    [job] = sweeps.jobs(root, "noise", root / "out")
    outcome = died(job, sweeping.DEAD)
    assert outcome.error and (outcome.folder / "traceback.txt").read_text().startswith("its process died")


NO_LOCKS = "#include <errno.h>\nint flock(int a, int b) { (void)a; (void)b; errno = ENOLCK; return -1; }\n"


def test_a_file_system_without_locks(root):
    """As many of clusters are; netCDF would say that permission is denied."""
    (root / "none.c").write_text(NO_LOCKS)
    if shutil.which("gcc") is None:
        pytest.skip("Not tested: a file system without locks, which needs gcc to imitate")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", root / "none.so", root / "none.c"], check=True)
    env = {**os.environ, "LD_PRELOAD": str(root / "none.so")}
    env.pop("HDF5_USE_FILE_LOCKING", None)
    for words in (
        ("sweep", "noise", "-p", "a", "1:3", "--jobs", "1", "--out", "out"),
        ("collect", "out", "--out", "a.nc"),
    ):
        command = [sys.executable, "-m", "hierlib.book", *words]
        done = subprocess.run(command, cwd=root, env=env, text=True, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(whole(root / "out")) == 2 and (root / "a.nc").exists()
