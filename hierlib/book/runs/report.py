"""What a sweep says while it runs and when it has ended."""

import shlex
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hierlib.book.runs.checkout import Chapter
from hierlib.book.runs.run import Job, Outcome, failed_folder
from hierlib.book.runs.sweep import StartWorkers, Tally, run

SHOWN = 20  # failures named on the screen; all of them have a folder
EVERY = 30  # seconds between two lines where there is no terminal


def drive(console: Console, tally: Tally, start_workers: StartWorkers, *, batch: int = 1) -> float:
    """Runs what is to be done, under a bar with done, failed and time left; without a terminal a line at times.

    Returns:
        Seconds that it took.
    """
    columns = [
        *(BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]} failed"), TimeElapsedColumn()),
        *(TextColumn("left"), TimeRemainingColumn()),
    ]
    start = last = time.monotonic()
    total = len(tally.todo)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=total, failed=0)

        def show(outcome: Outcome) -> None:
            nonlocal last
            bar.update(task, advance=1, failed=len(tally.failed))
            now, done = time.monotonic(), tally.ran + len(tally.failed)
            if not console.is_terminal and now - last > EVERY and done:
                last, left = now, (now - start) / done * (total - done)
                console.print(f"{done} of {total} done, {len(tally.failed)} failed, {spell(left)} left")

        run(tally, start_workers, batch=batch, on_outcome=show)
    return time.monotonic() - start


def estimate(console: Console, tally: Tally, start_workers: StartWorkers, workers: int | None) -> None:
    """Runs the first point, which stays, and says how long the others would take.

    Of a quantity it runs two in one process: the first one includes its start, the second tells of all others.

    Args:
        workers: how many there would be; None if it is as many as are started.
    """
    if not tally.todo:
        console.print("Nothing is to be run.")
        return
    count = 1 if isinstance(tally.todo[0].target, Chapter) else 2
    took: list[float] = []
    rest, tally.todo = len(tally.todo[count:]), tally.todo[:count]
    run(tally, start_workers, batch=count, on_outcome=lambda outcome: took.append(outcome.seconds))
    if tally.ran:
        workers = max(1, min(workers or tally.workers, rest))
        total = spell(took[0] - took[-1] + took[-1] * rest / workers)
        first, are = ("point", "is") if len(took) == 1 else ("two points", "are")
        others = (
            f"The other {rest} would take about {total} on {workers} worker{'s' * (workers > 1)}, if they are alike."
        )
        console.print(
            f"The first {first} took {' and '.join(map(spell, took))}, and {are} kept. "
            + (others if rest else "There is no other to be run."),
            highlight=False,
        )


def summarise(console: Console, tally: Tally, folder: Path, seconds: float | None) -> bool:
    """The last lines; returns whether all is well.

    Args:
        seconds: how long it took; None of a dry run.
    """
    if seconds is not None:
        line = f"{tally.ran} run, {tally.there} there already, {len(tally.failed)} failed, in {spell(seconds)}"
        console.print(line, markup=False, highlight=False)
    for outcome in tally.failed[:SHOWN]:
        console.print(f"failed: {_point(outcome.job)}: {outcome.error}", markup=False, style="red")
        console.print(f"  {short(outcome.folder / 'traceback.txt')}", markup=False, highlight=False)
    for job in tally.earlier[:SHOWN]:
        console.print(f"failed before: {_point(job)}", markup=False, style="red")
        console.print(f"  {short(failed_folder(job) / 'traceback.txt')}", markup=False, highlight=False)
    if more := sum(max(0, len(each) - SHOWN) for each in (tally.failed, tally.earlier)):
        console.print(f"… and {more} more: {short(folder)}/*-failed/traceback.txt", markup=False, highlight=False)
    if tally.failed or tally.earlier:
        console.print("With --retry the same command runs these again.", markup=False)
    if tally.halted:
        left = len(tally.todo) - tally.ran - len(tally.failed)
        console.print(f"Stopped with {left} points to go: {tally.halted}", markup=False, style="red")
        console.print("What has finished is whole. When that is mended, the same command goes on from there.")
    elif seconds is not None:
        where = short(folder)
        text = f"The results are in {where}; `hierlib collect {shlex.quote(where)}` gathers them."
        console.print(text, markup=False, highlight=False)
    return not (tally.failed or tally.earlier or tally.halted)


def _point(job: Job) -> str:
    return ", ".join(f"{k} = {v}" for k, v in job.given.items()) or "the defaults"


def short(path: Path, base: Path | None = None) -> str:
    """A path as seen from `base`, by default the current folder; whole if it is not below that."""
    base = base or Path.cwd()
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


def spell(seconds: float) -> str:
    """A duration in words: 4.2 s, 3 min, 5.1 h, 2.0 days."""
    for unit, size, digits in (("s", 1, 1), ("min", 60, 0), ("h", 3600, 1)):
        if seconds < {"s": 120, "min": 7200, "h": 172800}[unit]:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds / 86400:.1f} days"
