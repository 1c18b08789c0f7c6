"""A name for this process that no other one has, not even in another container with the same host name."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from pathlib import Path


def name() -> str:
    """HOST-WORLD-PID: the machine, the eight digits of `world`, and the number of this process there."""
    return f"{_place()}-{os.getpid()}"


def gone(owner: str) -> bool:
    """Whether the process of that name has ended. Of one that cannot be seen from here, nobody knows: False.

    Args:
        owner: the name, maybe behind other words and a dot.
    """
    match = re.fullmatch(rf"(?:.*\.)?{re.escape(_place())}-(\d{{1,10}})", owner, re.S)
    if match is None or os.name != "posix":
        return False
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False


def _place() -> str:
    return f"{socket.gethostname()}-{world()}"


def world() -> str:
    """Eight hex digits of what gives a process number its meaning: this start of the kernel, and the namespace."""
    found = []
    for read in (lambda: Path("/proc/sys/kernel/random/boot_id").read_text(), lambda: os.readlink("/proc/self/ns/pid")):
        try:
            found.append(read())
        except OSError:  # not Linux: there are no namespaces
            found.append("")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:8]
