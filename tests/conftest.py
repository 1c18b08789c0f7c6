"""What the whole suite shares: one thread a process, and a last line that tells what was not tested."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests' arrays are small; before torch is imported

import torch

if not torch.cuda.is_available():  # then the GPU kernels run in Triton's interpreter; before they are imported
    os.environ["TRITON_INTERPRET"] = "1"

_not_tested: set[str] = set()


def pytest_runtest_logreport(report):
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason.lower().startswith("not tested"):
            _not_tested.add(reason)


def pytest_unconfigure(config):
    for reason in sorted(_not_tested):
        print(reason[0].upper() + reason[1:])
