"""Processes that run chapters and quantities."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor


@contextlib.contextmanager
def pool(workers: int) -> Iterator[Executor]:
    """Processes that run chapters. They start afresh (spawn: kernels hang in a forked process), and end if
    this process does, however it ends."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(max(workers, 1), mp_context=context, initializer=_start_worker)
    try:
        yield executor
    except BaseException:
        processes = list(executor._processes.values())  # public only from Python 3.14 on
        executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    executor.shutdown()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches all processes; the parent ends this one
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)  # its kernel watches this process in turn

    threading.Thread(target=follow, daemon=True).start()
