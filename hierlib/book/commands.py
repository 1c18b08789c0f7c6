"""The commands behind `hierlib`."""

import os
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

import hierlib
from hierlib.book.checkout import chapter, chapters, find_checkout
from hierlib.book.params import BadRequest, describe
from hierlib.book.run import Outcome, execute_all, prepare, prune
from hierlib.book.site import SiteError, build_site, zip_site

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
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@commands.command()
def build(
    jobs: Jobs = CPUS,
    force: Force = False,
    only: Annotated[list[str] | None, typer.Option(help="Run this chapter only, and build no site.")] = None,
    timeout: Timeout = 1800,
) -> None:
    """Run every chapter that has changed and build the site into _build/html."""
    out = _console()
    try:
        root = find_checkout()
        wanted = [chapter(root, slug) for slug in only] if only else list(chapters(root).values())
        todo = [prepare(each, timeout=timeout or None, force=force) for each in wanted]
    except BadRequest as error:
        _refuse(error)
    done = _run(out, todo, jobs)
    prune(root / "_build" / "runs", done)
    failed = [each for each in done if each.error]
    for each in failed:
        out.print(f"\n{each.job.chapter.path.name} failed: {each.error}", markup=False)
        out.print(f"  the notebook up to there: {_short(each.notebook, root)}", markup=False)
    if failed:
        out.print(f"\n{len(failed)} of {len(done)} chapters failed; the site was not built.")
        raise typer.Exit(1)
    if only:
        return
    start = time.time()
    try:
        with out.status("building the site"):
            fresh = build_site(root, done, force=force)
    except SiteError as error:
        out.print(f"\n{error}", markup=False)
        raise typer.Exit(1) from None
    out.print(f"         site    {time.time() - start:6.1f} s" if fresh else "         site    unchanged")
    index = root / "_build" / "html" / "index.html"
    out.print(f"The book is in {_short(index, root)}: open it in a browser, or `make serve`.", soft_wrap=True)


@commands.command()
def run(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="The chapter, as `hierlib list` names it.")],
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME VALUE", help="Set a parameter; may be given many times."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to make; default results/SLUG-KEY.")] = None,
    force: Force = False,
    timeout: Timeout = 0,
) -> None:
    """Run one chapter with other parameters, into a folder: the notebook, its records, its data."""
    console = _console()
    try:
        root = find_checkout()
        each = chapter(root, slug)
        job = prepare(each, _pairs(parameters or []), out, timeout=timeout or None, force=force)
        if out is None:
            folder = root / "results" / f"{each.slug}-{job.key}"
            job = prepare(each, job.given, folder, timeout=timeout or None, force=force)
    except BadRequest as error:
        _refuse(error)
    [done] = _run(console, [job], 1)
    if done.error:
        console.print(f"{each.path.name} failed: {done.error}", markup=False)
        console.print(f"  the notebook up to there: {_short(done.notebook, Path.cwd())}", markup=False)
        raise typer.Exit(1)
    console.print(f"The run is in {_short(done.folder, Path.cwd())}", markup=False, soft_wrap=True)


@commands.command("list")
def list_() -> None:
    """List the chapters and the parameters that each takes: type, default, meaning, constraint."""
    out = _console()
    try:
        for slug, each in chapters(find_checkout()).items():
            out.print(describe(each.parameters, slug) + "\n", markup=False, highlight=False, soft_wrap=True)
    except BadRequest as error:
        _refuse(error)


@commands.command("zip")
def zip_() -> None:
    """Pack the site into one archive in dist/."""
    try:
        root = find_checkout()
        path = zip_site(root, root / "dist" / f"hierarchies-{hierlib.__version__}.zip")
    except BadRequest as error:
        _refuse(error)
    _console().print(f"The site is packed in {_short(path, Path.cwd())} ({path.stat().st_size / 1e6:.1f} MB)")


def _run(out: Console, jobs, workers: int) -> list[Outcome]:
    """Runs jobs with a line for each as it ends, and in a terminal how many are still to come."""
    count = 0
    with out.status(_left(len(jobs))) as status:

        def tell(done: Outcome) -> None:
            nonlocal count
            count += 1
            word = "FAILED" if done.error else "cached" if done.cached else "run"
            width = len(str(len(jobs)))
            seconds = " " * 8 if done.cached else f"{done.seconds:6.1f} s"
            line = f"[{count:{width}}/{len(jobs)}]  {word:6}  {seconds}  {done.job.chapter.slug}"
            out.print(line, markup=False, highlight=False, style="red" if done.error else None)
            status.update(_left(len(jobs) - count))

        try:
            return execute_all(jobs, workers, tell)
        except KeyboardInterrupt:
            out.print("Interrupted. What has finished is kept; the same command goes on from there.")
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
            raise BadRequest(f"-p {name}: given twice")
        pairs[name] = value
    return pairs


def _refuse(error: BadRequest) -> NoReturn:
    typer.echo(f"hierlib: {error}", err=True)
    raise typer.Exit(2)


def _console() -> Console:
    return Console(soft_wrap=True)


def _short(path: Path, base: Path) -> str:
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
