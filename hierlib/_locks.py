"""One process at a time, also on file systems that have no locks, as many of clusters, and on systems without fcntl."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from hierlib import _process

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
AGAIN = 0.05  # seconds until a file that stands for a lock is looked for again


class LeftLock(OSError):
    """A lock is held by nobody; the message says which file to remove."""


def hdf5_needs_none() -> None:
    """Lets this process read and write netCDF files where there are no locks; call it before the first one is opened.

    HDF5 would say "Permission denied". Nothing is lost: files here are written under names of their own and renamed
    when they are whole. Where the variable is set already it stays.
    """
    os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[str], None] = lambda text: print(text, file=sys.stderr)) -> Iterator[IO]:
    """Holds an exclusive lock on a file, which is made if need be; waits while another process has it.

    A child that is given the open file has a share in the lock, and keeps it if this process is killed. Where there are
    no locks, a file PATH.held stands for it.

    Args:
        waiting: is told once if another process must be waited for.

    Raises:
        LeftLock: there are no locks, and PATH.held is of a process that has been killed; says so.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            if fcntl is None:
                raise OSError(errno.ENOSYS, "no fcntl")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting("another process is at work here; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            stand_in: contextlib.AbstractContextManager[None] = _held(path.with_name(f"{path.name}.held"), waiting)
        else:
            stand_in = contextlib.nullcontext()
        with stand_in:
            yield file  # closing it, or dying, gives the lock back


@contextlib.contextmanager
def _held(path: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    told, begun = False, time.monotonic()
    while True:
        try:
            with path.open("x") as file:
                file.write(_process.name())
            break
        except FileExistsError:
            try:
                owner = path.read_text()
            except FileNotFoundError:
                continue
            if not owner and time.monotonic() - begun < 5:  # made just now, and its name not written yet
                time.sleep(AGAIN)
                continue
            if _process.gone(owner):  # not removed here: another process may just be doing so, and hold the next one
                raise LeftLock(f"{path} is left from a process that was killed; remove it") from None
            if not told:
                told = True
                waiting(f"another process ({owner}) is at work here; waiting for it. If it is none, remove {path}")
            time.sleep(AGAIN)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
