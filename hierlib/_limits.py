"""What this process may use of the machine: memory and processors, by the limits of its control groups as well.

A batch system, a container or a service manager puts a process into a group somewhere below the root of the cgroups,
and every group above it may have limits of its own; the lowest one counts. Both versions of cgroups are read. Elsewhere
than on Linux the machine's own numbers are all that there is.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
UNLIMITED = 2**60  # version 1 has no word for it, but a number near 2**63
_MEMORY = (  # a limit, what is used of it, and the part of that which is only a copy of files
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.high", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # version 1
)


def memory() -> int | None:
    """Bytes of main memory that this process can still get; None if nobody knows."""
    return min((max(0, each) for each in (*_of_machine(), *_of_groups(), *_of_process())), default=None)


def processors() -> int:
    """How many processors this process may keep busy: those it may run on, fewer if its groups have less time."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _groups("cpu"):
        quota = _numbers(group / "cpu.max") or [
            *(_numbers(group / "cpu.cfs_quota_us") or [-1]),  # -1: no limit
            *(_numbers(group / "cpu.cfs_period_us") or [0]),
        ]
        if min(quota) > 0:
            count = min(count, math.ceil(quota[0] / quota[1]))
    return count


def _of_machine() -> Iterator[int]:
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    except OSError:
        found = None
    if found:
        yield int(found[1]) * 1024
    else:
        if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
            yield os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_groups() -> Iterator[int]:
    """What each group has left. Pages of files that nobody has used lately are given up before anything fails."""
    for group in _groups("memory"):
        for limit, usage, idle in _MEMORY:
            most = _numbers(group / limit)
            if most and most[0] < UNLIMITED and (used := _numbers(group / usage)):
                yield most[0] - used[0] + min(used[0], _idle(group / "memory.stat", idle))


def _of_process() -> Iterator[int]:
    """`ulimit -v`, which some batch systems set."""
    try:
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            yield most - pages * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError):
        return


@lru_cache
def _groups(controller: str) -> list[Path]:
    """The folders of the groups that this process is in, from the root down; those that cannot be seen are left out.

    In a container the path may be that of the host, while the folder shows the container's own group as its root.
    """
    try:
        lines = [line.split(":", 2) for line in OWN.read_text().splitlines()]
    except OSError:
        return []
    found = []
    for _, controllers, path in lines:
        if not controllers:
            bases = [CGROUPS, CGROUPS / "unified"]  # version 2, alone or beside version 1
        elif controller in controllers.split(","):
            bases = [CGROUPS / controllers, CGROUPS / controller]
        else:
            continue
        parts = [part for part in path.split("/") if part]
        found += [base.joinpath(*parts[:i]) for base in bases for i in range(len(parts) + 1)]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def _numbers(path: Path) -> list[int] | None:
    """The whole numbers of a file; None if it is not there or sets no limit ("max")."""
    try:
        return [int(word) for word in path.read_text().split()]
    except (OSError, ValueError):
        return None


def _idle(path: Path, name: str) -> int:
    try:
        found = re.search(rf"^{name} (\d+)$", path.read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) if found else 0
