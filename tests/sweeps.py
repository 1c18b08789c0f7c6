"""A tiny checkout with quantities of its own, and an executor that runs at once, for the tests of sweeps."""

import contextlib
import os
import shutil
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path

from hierlib.book.runs import grid
from hierlib.book.runs.run import Job, identity, jobs_of
from hierlib.book.runs.sweep import Workers
from hierlib.book.runs.targets import find_target
from tests import tiny

LIGHT = """\
import xarray as xr
from hierlib import book
if m == 3:
    raise ValueError("<deliberate>")
_ = book.record("near-is-far", m)
_ = book.save("squares", xr.Dataset({"square": ("i", np.arange(3) * m)}))"""

QUANTITIES = '''\
import os
import signal
import time
from pathlib import Path

import numpy as np
import xarray as xr

HERE = Path(__file__).parents[1]

NOISE = """\\
a: int = 1  # factor; 1 <= a <= 9
b: float = 0.5  # shift; 0 <= b < 1; b * 10 < 11 - a
seed: int = 0  # of the noise; seed >= 0
seconds: float = 0.0  # to wait; 0 <= seconds <= 60
word: str = "x"  # any text
"""


def noise(*, a, b, seed, seconds, word):
    time.sleep(seconds)
    y = a * np.random.default_rng(seed).normal(size=a + 1) + b
    return xr.Dataset({"y": ("i", y), "total": y.sum(), "n": a}, {"i": np.arange(a + 1)})


FRAGILE = """\\
a: int = 1  # breaks at 2 while a file says so
"""


def fragile(*, a):
    if a == 2 and (HERE / "broken").exists():
        raise ValueError(f"<deliberate> {a}")
    return xr.Dataset({"square": a * a})


KILLER = """\\
a: int = 1  # its process dies at 2
"""


def killer(*, a):
    """Leaves a file each time that it runs."""
    (HERE / f"ran-{a}-{time.time_ns()}").touch()
    time.sleep(0.1 if a == 2 else 0.4)  # its neighbours are at work then
    if a == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return xr.Dataset({"square": a * a})


BIG = """\\
a: int = 1  # a label
"""


def big(*, a):
    return xr.Dataset({"much": ("i", np.random.default_rng(a).normal(size=20_000))})


WAITING = """\\
a: int = 1  # a label
"""


def waiting(*, a):
    """Tells its process, and ends once it may."""
    (HERE / f"pid-{a}-{os.getpid()}").touch()
    while not (HERE / "go").exists():
        time.sleep(0.05)
    return xr.Dataset({"square": a * a})
'''


class AtOnce(Executor):
    """Runs a task when it is submitted, in this process."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def here(size: int = 1):
    """Workers without processes."""
    yield Workers(AtOnce(), size, ahead=2)


@contextlib.contextmanager
def with_executor(workers: Workers, executor: Executor):
    """The same with another executor."""
    yield replace(workers, executor=executor)


def make(root: Path, **pages: str) -> Path:
    tiny.make(root, **pages)
    (root / "book" / "quantities.py").write_text(QUANTITIES, "utf-8")
    return root


def jobs(root: Path, slug: str, out: Path, **given: str) -> list[Job]:
    """The jobs of a grid, as the command line makes them."""
    each = find_target(root, slug)
    axes = grid.grids(each.parameters, given, chapter=slug)
    return jobs_of(each, grid.points(each.parameters, axes), out, fit=identity(each), commit="some commit")


def arrays(out: Path) -> dict[str, bytes]:
    """Of every point the bytes of each of its arrays, by the name of its folder."""
    import xarray as xr

    found = {}
    for path in sorted(out.glob("*-????????????????/data/*.nc")):
        with xr.open_dataset(path) as data:
            found |= {f"{path.parts[-3]}/{name}": data[name].values.tobytes() for name in data.variables}
    return found


def stamps(out: Path) -> dict[str, tuple]:
    """Which files there are, and of when: what is written again has other stamps."""
    files = [p for p in out.rglob("*") if p.is_file()]
    return {str(p.relative_to(out)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in files}


def leftovers(out: Path) -> list[str]:
    return [p.name for p in out.rglob(".*")]


def can_mount() -> list[str] | None:
    """The command after which a shell may mount a file system of its own, if there is one."""
    import subprocess

    for words in (["unshare", "-m"], ["unshare", "-Urm"]):
        test = [*words, "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
        if (
            shutil.which("unshare")
            and os.path.isdir("/mnt")
            and subprocess.run(test, capture_output=True).returncode == 0
        ):
            return words
    return None
