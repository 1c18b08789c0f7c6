"""What the compiled kernels are worth to the book: each chapter's processor time with plain torch and with them.

    python benchmarks/book.py

Every chapter is run at its default parameters in a fresh process on one thread, as it is; and again, if it infers
anything, with the reference backend wherever it leaves the choice to `hl.infer` and its like. Chapters that the result
file has already, of the same commit, are not run again: what was interrupted goes on.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch

import contextlib
import io
import json
import multiprocessing
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from cpu import FOLDER, provenance, write_json

from hierlib import _paths, inference
from hierlib.book.runs.checkout import chapters, find_checkout


def seconds(slug: str, backend: str) -> tuple[float, int]:
    """Processor time of all cells of a chapter, in a fresh process; how often it had a choice of backends."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_run, (slug, backend))


def _run(slug: str, backend: str) -> tuple[float, int]:
    from IPython.core.interactiveshell import InteractiveShell

    torch.set_num_threads(1)
    root, choose = find_checkout(FOLDER), inference._backend
    choices = []

    def chosen(name, *about):
        choices.append(name)
        return choose("torch" if name == "auto" and backend == "torch" else name, *about)

    inference._backend = chosen
    code = chapters(root)[slug].code
    os.chdir(root / "book")
    shell = InteractiveShell.instance()
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        for source, _ in code:
            shell.run_cell(source, store_history=False).raise_error()
    return time.process_time() - start, len(choices)


def main(
    slug: Annotated[list[str] | None, typer.Option(help="Only these chapters.")] = None,
    out: Annotated[Path, _paths.option(help="The result file.")] = FOLDER / "results" / "book.json",
) -> None:
    """Run, print a table, and write the result file."""
    made, known = (
        provenance([]) | {"clock": "processor time of the process, seconds"},
        [*chapters(find_checkout(FOLDER))],
    )
    result = json.loads(out.read_text("utf-8")) if out.exists() else {}
    if result.get("provenance", {}).get("commit") != made["commit"] or "dirty" in made["commit"]:
        result = {"provenance": made, "chapters": {}}
    done = result["chapters"]
    for each in [each for each in slug or known if each not in done]:
        compiled, choices = seconds(each, "cpu")
        done[each] = {"torch": seconds(each, "torch")[0] if choices else compiled, "cpu": compiled}
        print(f"{each:32} {done[each]['torch']:7.1f} s plain torch, {done[each]['cpu']:7.1f} s compiled", flush=True)
        words = [] if set(done) == set(known) else [f"--slug {name}" for name in done]
        result["provenance"]["command"] = " ".join(["python benchmarks/book.py", *words])
        write(result, out)  # it takes long; what is done is kept
    print(f"written: {out}")


def write(result: dict, out: Path) -> None:
    """As a whole or not at all."""
    write_json(out, result)


if __name__ == "__main__":
    typer.run(main)
