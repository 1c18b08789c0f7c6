"""Locks, with and without a file system or an operating system that has them, and the names of processes."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from hierlib import _locks, _process
from hierlib._locks import LeftLock, locked


def until(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


TAKE = "import pathlib, sys; from hierlib._locks import locked\nwith locked(pathlib.Path(sys.argv[1])): pass"


def test_the_lock_waits(tmp_path):
    with locked(tmp_path / "lock"):
        command = [sys.executable, "-c", TAKE, str(tmp_path / "lock")]
        other = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert "waiting for it" in other.stderr.readline()
        assert other.poll() is None
    assert other.wait(20) == 0


def test_a_child_keeps_the_lock_of_a_killed_build(tmp_path):
    """Else the next build would remove the folder that an orphaned Jupyter Book still writes to."""
    child = tmp_path / "sphinx"
    code = f"""import subprocess, sys, time; from pathlib import Path; from hierlib._locks import locked
with locked(Path(sys.argv[1])) as lock:
    child = subprocess.Popen(["sleep", "60"], pass_fds=[lock.fileno()])
    Path({str(child)!r}).write_text(str(child.pid))
    time.sleep(60)"""
    build = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")])
    until(lambda: child.exists() and child.read_text())
    build.kill()
    build.wait()
    with (tmp_path / "lock").open("a") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(int(child.read_text()), signal.SIGKILL)
        fcntl.flock(file, fcntl.LOCK_EX)


def without(monkeypatch, how):
    """No module fcntl, as on Windows; or a file system that says that it has no locks."""

    def flock(*_):
        raise OSError(how, os.strerror(how))

    if how is None:
        monkeypatch.setattr(_locks, "fcntl", None)
    else:
        monkeypatch.setattr(_locks.fcntl, "flock", flock)


@pytest.mark.slow
@pytest.mark.parametrize("how", [None, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_one_at_a_time_where_there_are_no_locks(tmp_path, monkeypatch, how):
    without(monkeypatch, how)
    inside, most, told = [], [], []

    def work():
        for _ in range(5):
            with locked(tmp_path / "new" / "lock", told.append):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.01)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 15 and max(most) == 1
    assert told and str(tmp_path / "new" / "lock.held") in told[0] and _process.name() in told[0]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["lock"]


def ended():
    """The name of a process that has ended."""
    child = subprocess.Popen(["true"])
    child.wait()
    return f"{_process.name().rpartition('-')[0]}-{child.pid}"


def test_where_there_are_no_locks_a_killed_process_is_named(tmp_path, monkeypatch):
    without(monkeypatch, errno.ENOLCK)
    (tmp_path / "lock.held").write_text(ended())
    with (
        pytest.raises(LeftLock, match=r"lock\.held is left from a process that was killed; remove it"),
        locked(tmp_path / "lock"),
    ):
        pass


def test_other_errors_come_out(tmp_path, monkeypatch):
    without(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), locked(tmp_path / "lock"):
        pass


def test_who_has_ended(monkeypatch):
    """Only of the own machine and namespace; a stranger's process may be alive, whatever its number."""
    mine, dead = _process.name(), ended()
    assert _process.gone(dead) and not _process.gone(mine) and not _process.gone(f"{mine.rpartition('-')[0]}-1")
    for other in ("", "x", dead.replace(_process.world(), "00000000"), f"elsewhere-{dead}", f"{dead}{'0' * 20}"):
        assert not _process.gone(other), other
    monkeypatch.setattr(_process, "world", lambda: "12345678")
    assert _process.name() != mine and not _process.gone(dead)


def test_containers_of_one_host_name_have_names_of_their_own():
    """Two namespaces of processes, in each of which the process has the number 1."""
    own = ["unshare", *(["-Ur"] if os.getuid() else []), "-pf", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*own, "true"], capture_output=True).returncode:
        pytest.skip("Not tested: two containers of one host name, for this system gives nobody a process namespace")
    program = f"import runpy; print(runpy.run_path({_process.__file__!r})['name']()); input()"
    pair = [
        subprocess.Popen(
            [*own, sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    names = [each.stdout.readline().strip() for each in pair]
    for each in pair:
        each.communicate("\n")
    assert [name.rpartition("-")[2] for name in names] == ["1", "1"], "the numbers are the same"
    assert len({*names, _process.name()}) == 3 and not any(map(_process.gone, names))
