"""The commands behind `hierlib`."""

import re
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import hierlib
from hierlib import _paths
from hierlib._commands import later
from hierlib._limits import processors
from hierlib._provenance import commit
from hierlib.book.runs import grid, report
from hierlib.book.runs import sweep as sweeping
from hierlib.book.runs.checkout import chapter, chapters, find_checkout
from hierlib.book.runs.cluster import dask_workers
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.params import describe, resolve
from hierlib.book.runs.places import axes_in_place, in_place
from hierlib.book.runs.report import short
from hierlib.book.runs.run import Job, Outcome, clear_parts, identity, jobs_of, prepare, prune
from hierlib.book.runs.sweep import Workers, execute_all
from hierlib.book.runs.targets import find_target, targets
from hierlib.book.site import longer
from hierlib.book.site.build import SiteError, build_site, zip_site

commands = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Builds the book and runs its chapters. Works in a checkout of the book, from any folder of it.",
)

Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="How many chapters run side by side.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Run again what has been run before.")]
Timeout = Annotated[int, typer.Option(min=0, help="Seconds that one cell may take; 0 for no limit.")]
Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The chapter or quantity, as `hierlib list` names it.")]
CPUS = processors()

commands.add_typer(later("hierlib.train", "Train the networks of the book, and measure them."), name="train")
commands.add_typer(later("hierlib.book.image_commands", "The experiment on images, and its models."), name="images")


@commands.command()
def build(
    jobs: Jobs = CPUS,
    force: Force = False,
    only: Annotated[list[str] | None, typer.Option(help="Run this chapter only, and build no site.")] = None,
    timeout: Timeout = 1800,
) -> None:
    """Run every chapter that has changed and build the site into _build/html."""
    console = _console()
    root = find_checkout()
    wanted = [chapter(root, slug) for slug in only] if only else list(chapters(root).values())
    todo = [prepare(each, timeout=timeout or None, force=force) for each in wanted]
    done = _run(console, todo, jobs)
    prune(root / "_build" / "runs", done)
    failed = [each for each in done if each.error]
    for each in failed:
        console.print(f"\n{each.job.target.path.name} failed: {each.error}", markup=False)
        if each.left:
            console.print(f"  what it left: {short(each.left, root)}", markup=False)
    if failed:
        console.print(f"\n{len(failed)} of {len(done)} chapters failed; the site was not built.")
        raise typer.Exit(1)
    if only:
        return
    start = time.time()
    try:
        with console.status("building the site"):
            fresh = build_site(root, done, force=force)
    except SiteError as error:
        console.print(f"\n{error}", markup=False)
        raise typer.Exit(1) from None
    console.print(f"         site    {time.time() - start:6.1f} s" if fresh else "         site    unchanged")
    index = root / "_build" / "html" / "index.html"
    console.print(f"The book is in {short(index, root)}: open it in a browser, or `make serve`.", soft_wrap=True)


@commands.command()
def run(
    slug: Slug,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME VALUE", help="Set a parameter; may be given many times."),
    ] = None,
    out: Annotated[Path | None, _paths.option(help="The folder to make; default results/SLUG-KEY.")] = None,
    force: Force = False,
    timeout: Timeout = 0,
) -> None:
    """Run one chapter or quantity with other parameters, into a folder: the notebook, its records, its data."""
    console = _console()
    root = find_checkout()
    each = find_target(root, slug)
    values = resolve(each.parameters, in_place(each, _pairs(parameters or [])), chapter=each.slug)
    [job] = jobs_of(each, [values], root / "results", out, timeout=timeout or None, force=force)
    [done] = _run(console, [job], 1)
    if done.error:
        console.print(f"{each.slug} failed: {done.error}", markup=False)
        if done.left:
            console.print(f"  what it left: {short(done.left)}", markup=False)
        raise typer.Exit(1)
    console.print(f"The run is in {short(done.folder)}", markup=False, soft_wrap=True)


@commands.command()
def sweep(
    slug: Slug,
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            metavar="NAME VALUES",
            help="Values by commas, start:stop:step (stop excluded), or both.",
        ),
    ] = None,
    grid_file: Annotated[
        Path | None, _paths.option("--grid", help="A YAML file of such axes, or a list of them.")
    ] = None,
    out: Annotated[Path | None, _paths.option(help="The folder of the results; default results/.")] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, max=512, help=f"How many processes here; default {CPUS}.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A dask scheduler, tcp://host:port, or local:N.")
    ] = None,
    resources: Annotated[
        list[str] | None, typer.Option(metavar="NAME=N", help="What a point needs of a dask worker, say GPU=1.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="How many points are sent to a worker at once.")] = 1,
    wait: Annotated[float, typer.Option(min=0.1, max=10**6, help="Seconds to wait for a cluster.")] = 10,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Run the first point or two only; tell how long all take.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Run again what has failed before.")] = False,
    timeout: Timeout = 0,
) -> None:
    """Run a chapter or quantity at every point of a grid; what is there already is skipped."""
    console = _console()
    try:
        root = find_checkout()
        each = find_target(root, slug)
        axes = grid.grids(each.parameters, _pairs(parameters or []), grid_file, chapter=each.slug)
        axes = [axes_in_place(each, one) for one in axes]
        if jobs and cluster:
            raise BadRequest(
                f"--jobs {jobs} counts processes here, --cluster {cluster} brings its own workers: expected one of them"
            )
        count, need = jobs or CPUS, _resources(resources or [], cluster)
        folder = sweeping.writable(out or root / "results")
        clear_parts(folder)
        points = grid.points(each.parameters, axes)
        here, fit = cluster is None, identity(each)
        todo = jobs_of(each, points, folder, timeout=timeout or None, fit=fit, commit=commit(root), here=here)
        tally = sweeping.plan(todo, retry=retry)
        total = len(tally.todo) + tally.there + len(tally.earlier)
        console.print(f"{each.slug}: {total} points, {tally.there} there already", highlight=False)

        def start_workers(most: int) -> AbstractContextManager[Workers]:
            if cluster is None:
                return sweeping.processes(min(most, count))
            return dask_workers(cluster, each, folder, resources=need, wait=wait)

        seconds = None if dry_run else 0.0
        if dry_run:
            report.estimate(console, tally, start_workers, count if cluster is None else None)
        elif tally.todo:
            seconds = report.drive(console, tally, start_workers, batch=batch)
            clear_parts(folder)  # again: workers of a killed sweep may have lived on for a moment
    except KeyboardInterrupt:
        console.print("Interrupted. What has finished is kept; the same command goes on from there.")
        raise typer.Exit(130) from None
    if not report.summarise(console, tally, folder, seconds):
        raise typer.Exit(1)


@commands.command()
def collect(
    folder: Annotated[Path, _paths.argument(metavar="FOLDER", help="What a sweep has written to.")],
    of: Annotated[str | None, typer.Option(help="The chapter or quantity, if the folder holds several.")] = None,
    out: Annotated[Path | None, _paths.option(help="A netCDF file to write.")] = None,
) -> None:
    """Gather the runs of a folder into one labelled dataset; exit code 1 if some are damaged and left out."""
    from hierlib.book.runs import collect as collecting  # xarray takes a second

    console = _console()
    found = collecting.collect(folder, of)
    if out is not None:
        collecting.write(found.data, out)
    console.print(str(found.data), markup=False, highlight=False)
    if found.older:
        console.print(f"{found.older} runs of an earlier state of the code are left out", markup=False)
    for note in found.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    for line in found.damaged:
        console.print(f"left out, damaged: {line}", markup=False, style="red")
    if found.damaged:
        console.print("The same `hierlib sweep` runs the damaged points again.")
        raise typer.Exit(1)


@commands.command()
def keep(
    folder: Annotated[
        Path, _paths.argument(metavar="FOLDER", help="A run that differs from the book's in how much it draws.")
    ],
) -> None:
    """Keep the answers of a longer run: in book/longer; the ledger takes them if they drew more or are sharper."""
    answers = longer.keep(find_checkout(), folder)
    _console().print(f"{len(answers)} answers are in {longer.FOLDER}; more draws or a sharper answer count in a build")


@commands.command("list")
def list_() -> None:
    """List the chapters and quantities and the parameters that each takes: type, default, meaning, constraint."""
    console = _console()
    for each in targets(find_checkout()):
        console.print(describe(each.parameters, each.slug) + "\n", markup=False, highlight=False, soft_wrap=True)


@commands.command("zip")
def zip_() -> None:
    """Pack the site into one archive in dist/."""
    root = find_checkout()
    path = zip_site(root, root / "dist" / f"hierarchies-{hierlib.__version__}.zip")
    _console().print(f"The site is packed in {short(path)} ({path.stat().st_size / 1e6:.1f} MB)")


@commands.command()
def pdf() -> None:
    """Print the site as one PDF in dist/; needs Chromium."""
    from hierlib.book.site.pdf import make_pdf

    console = _console()
    try:
        root = find_checkout()
        with console.status("printing the book"):
            path = make_pdf(root, root / "dist" / f"hierarchies-{hierlib.__version__}.pdf")
    except SiteError as error:
        console.print(f"{error}", markup=False)
        raise typer.Exit(1) from None
    console.print(f"The book is in {short(path)} ({path.stat().st_size / 1e6:.1f} MB)")


def _run(console: Console, jobs: list[Job], workers: int) -> list[Outcome]:
    """Runs jobs with a line for each as it ends, and in a terminal how many are still to come."""
    count = 0
    with console.status(_left(len(jobs))) as status:

        def show(done: Outcome) -> None:
            nonlocal count
            count += 1
            word = "FAILED" if done.error else "cached" if done.cached else "run"
            width = len(str(len(jobs)))
            seconds = " " * 8 if done.cached else f"{done.seconds:6.1f} s"
            line = f"[{count:{width}}/{len(jobs)}]  {word:6}  {seconds}  {done.job.target.slug}"
            console.print(line, markup=False, highlight=False, style="red" if done.error else None)
            status.update(_left(len(jobs) - count))

        try:
            return execute_all(jobs, workers, show)
        except KeyboardInterrupt:
            console.print("Interrupted. What has finished is kept; the same command goes on from there.")
            raise typer.Exit(130) from None


def _left(count: int) -> str:
    return f"{count} chapter{'s' * (count != 1)} to go"


def _pairs(words: list[str]) -> dict[str, str]:
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise BadRequest(f"-p {word}: a parameter needs a name and a value, as in `-p m 4`")
        if name in pairs:
            raise BadRequest(f"-p {name}: given twice; name it once, in a sweep with all its values: -p {name} 1,2")
        pairs[name] = value
    return pairs


def _resources(words: list[str], cluster: str | None) -> dict[str, float] | None:
    """``GPU=1`` as dask wants it."""
    found = {}
    for word in words:
        match = re.fullmatch(r"([A-Za-z]\w{0,40})=(\d{1,6}(\.\d{1,6})?)", word, re.A)
        if not match or float(match[2]) == 0:
            raise BadRequest(f"--resources {word}: expected NAME=N with N > 0, as in GPU=1")
        found[match[1]] = float(match[2])
    if found and cluster is None:
        raise BadRequest("--resources are of dask workers; name a cluster, as in --cluster local:2")
    return found or None


def _console() -> Console:
    return Console(soft_wrap=True)
