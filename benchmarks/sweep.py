"""What a sweep costs beside its points: the scheduler alone, and ten thousand empty points from end to end.

    python benchmarks/sweep.py      # four minutes; writes results/sweep.json

Both on a local dask cluster of two workers, through the code that `hierlib sweep --cluster local:2` runs. Wall-clock
times: this measures waiting, too.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent))
from cpu import FOLDER, provenance, write_json

from hierlib import _paths
from hierlib._provenance import commit
from hierlib.book.runs import grid, sweep
from hierlib.book.runs.cluster import dask_workers
from hierlib.book.runs.run import identity, jobs_of
from hierlib.book.runs.targets import find_target

ROOT = FOLDER.parent
WORKERS = 2


def jobs(slug: str, out: Path, **given: str) -> list:
    each = find_target(ROOT, slug)
    points = grid.points(each.parameters, grid.grids(each.parameters, given, chapter=slug))
    return jobs_of(each, points, out, fit=identity(each), commit=commit(ROOT))


def dispatch(workers: sweep.Workers, tasks: int) -> float:
    """Seconds a task that does nothing: what sending it out, scheduling it and hearing of it takes."""
    start = time.perf_counter()
    sweep._work(workers, deque([()] * tasks), "", lambda _: None, lambda _: None, lambda: False)
    return (time.perf_counter() - start) / tasks


def points(todo: list, workers: sweep.Workers, batch: int) -> dict:
    """A sweep from end to end with workers that are there: seconds of all, and of the points themselves."""
    start = time.perf_counter()
    tally = sweep.plan(todo)
    stock = time.perf_counter() - start

    sweep.run(tally, lambda _: contextlib.nullcontext(workers), batch=batch)
    if tally.halted or tally.failed:
        raise SystemExit(f"the sweep did not end well: {tally.halted or tally.failed[0].error}")
    total = time.perf_counter() - start
    return {
        "points": tally.ran,
        "batch": batch,
        "workers": workers.size,
        "seconds": round(total, 3),
        "seconds_before_the_first_point": round(stock, 3),
        "seconds_a_point_on_its_worker": round(tally.seconds / tally.ran, 6),
    }


def main(
    tasks: Annotated[int, typer.Option(help="How many empty points.")] = 10_000,
    out: Annotated[Path, _paths.option(help="The file to write.")] = FOLDER / "results" / "sweep.json",
) -> None:
    """Measure, print and keep."""
    made = provenance([])
    made |= {"command": "python benchmarks/sweep.py", "clock": "wall clock, seconds", "threads": "1 a worker"}
    made["other_work"] = f"load average {os.getloadavg()[0]:.1f} at the start"
    made.pop("vector_instructions", None)
    result: dict = {"provenance": made}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        empty = find_target(ROOT, "empty")
        with dask_workers(f"local:{WORKERS}", empty, here, wait=120) as workers:
            dispatch(workers, 50)  # the workers have imported the library now
            result["dispatch_dask"] = dispatch(workers, tasks)
            start = time.perf_counter()
            todo = jobs("empty", here / "one", point=f"0:{tasks}")
            result["seconds_to_prepare_a_point"] = (time.perf_counter() - start) / tasks
            result["empty"] = points(todo, workers, 1)
            result["empty_in_batches"] = points(
                jobs("empty", here / "many", point=f"0:{max(1, tasks // 10)}"), workers, 50
            )
            size = sum(p.stat().st_size for p in (here / "one").rglob("*") if p.is_file())
            result["bytes_a_point"] = size / tasks
            start = time.perf_counter()
            sweep.plan(todo)
            result["seconds_to_find_a_finished_point"] = (time.perf_counter() - start) / tasks
        with sweep.processes(WORKERS) as workers:
            dispatch(workers, 50)
            result["dispatch_processes"] = dispatch(workers, tasks)
        with sweep.processes(1) as workers:
            some = jobs("phase-diagram", here / "real", m="4:16:4", seed="0:4")
            points(some[:1], workers, 1)  # compiles
            result["phase_diagram"] = points(some, workers, 1)
            taken = [json.loads((job.folder / "run.json").read_text("utf-8"))["seconds"] for job in some[1:]]
            result["phase_diagram"]["seconds_of_each"] = sorted(taken)
    write_json(out, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    typer.run(main)
