"""What a process may use: batch jobs and containers, seen through trees of control groups as they lie on disk."""

import os
import sys
from pathlib import Path

import pytest
import torch

from hierlib import _limits
from hierlib._kernels.memory import available

GIB = 2**30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Sets which groups this process is in, and what the files of the tree say."""
    monkeypatch.setattr(_limits, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(_limits, "OWN", tmp_path / "own")
    monkeypatch.setattr(_limits, "_of_machine", lambda: iter([64 * GIB]))
    monkeypatch.setattr(_limits, "_of_process", lambda: iter([]))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)

    def machine(own, **files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        _limits._groups.cache_clear()
        return _limits.memory(), _limits.processors()

    yield machine
    _limits._groups.cache_clear()


SLURM = "0::/system.slice/slurmstepd.scope/job_7/step_0\n"
STEP = "system.slice/slurmstepd.scope/job_7"


def test_version_2_below_the_root(machine):
    """A batch job: the limits are those of the job, two folders above the process."""
    files = {
        f"{STEP}/memory.max": 8 * GIB,
        f"{STEP}/memory.current": 3 * GIB,
        f"{STEP}/memory.stat": f"anon {2 * GIB}\ninactive_file {GIB}\nactive_file 5",
        f"{STEP}/cpu.max": "250000 100000",
        f"{STEP}/step_0/memory.max": "max",
        f"{STEP}/step_0/memory.current": 3 * GIB,
        f"{STEP}/step_0/cpu.max": "max 100000",
        "system.slice/memory.max": "max",
    }
    assert machine(SLURM, **files) == (6 * GIB, 3), "copies of files are given up; 2.5 processors keep three busy"


def test_the_lowest_limit_counts(machine):
    files = {f"{STEP}/step_0/memory.high": GIB, f"{STEP}/step_0/memory.current": 2 * GIB}
    files |= {f"{STEP}/memory.max": 8 * GIB, f"{STEP}/memory.current": 3 * GIB}
    files |= {"system.slice/cpu.max": "50000 100000", f"{STEP}/cpu.max": "400000 100000"}
    assert machine(SLURM, **files) == (0, 1)


@pytest.mark.parametrize("folders", [("cpu,cpuacct", "memory"), ("cpu", "memory")])
@pytest.mark.parametrize("where", ["/docker/7f", ""])
def test_version_1(machine, folders, where):
    """Of a container the path is that of the host, while its files stand at the root (where is empty)."""
    own = "5:memory:/docker/7f\n3:cpu,cpuacct:/docker/7f\n1:name=systemd:/init.scope\n"
    cpu, memory = (f"{folder}{where}" for folder in folders)
    files = {
        f"{memory}/memory.limit_in_bytes": 2 * GIB,
        f"{memory}/memory.usage_in_bytes": GIB,
        f"{memory}/memory.stat": f"inactive_file 3\ntotal_inactive_file {GIB // 2}",
        f"{cpu}/cpu.cfs_quota_us": 400_000,
        f"{cpu}/cpu.cfs_period_us": 100_000,
    }
    assert machine(own, **files) == (1.5 * GIB, 4)


def test_no_limit(machine):
    own = "0::/\n4:memory:/\n3:cpu:/\n"
    free = {
        "memory/memory.limit_in_bytes": 2**63 - 4096,
        "memory/memory.usage_in_bytes": GIB,
        "cpu/cpu.cfs_quota_us": -1,
        "cpu/cpu.cfs_period_us": 100_000,
    }
    assert machine(own, **free) == (64 * GIB, 16)
    assert machine("") == machine("0::/gone\n") == (64 * GIB, 16)


def test_what_cannot_be_read_is_no_limit(machine, tmp_path):
    """A file without sense, a folder without files, no cgroups at all."""
    assert machine("0::/a\n", **{"a/memory.max": "much", "a/memory.current": "x", "a/cpu.max": "0 0"}) == (64 * GIB, 16)
    (tmp_path / "own").unlink()
    _limits._groups.cache_clear()
    assert (_limits.memory(), _limits.processors()) == (64 * GIB, 16)


@pytest.mark.skipif(sys.platform != "linux", reason="not tested: the address space of a process, which needs Linux")
def test_ulimit():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    try:
        resource.setrlimit(resource.RLIMIT_AS, (used + GIB, hard))
        assert 0.9 * GIB < next(_limits._of_process()) <= GIB
        assert available(torch.device("cpu")) <= GIB, "inference asks here"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert available(torch.device("cpu")) > 0
