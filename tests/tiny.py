"""A checkout of a few seconds: two chapters and a library, for the tests of the book's machinery."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from textwrap import dedent

from hierlib.book.runs.checkout import Chapter, chapter

HEAD = """\
---
jupytext: {formats: "md:myst", text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---

"""
PARAMETERS = """\
v: int = 4  # symbols; 2 <= v <= 64
s: int = 2  # children of a node; 2 <= s
m: int = 2  # rules per symbol; 1 <= m <= v**(s-1)
eps: float = 0.5  # noise; 0 <= eps <= 1
profile: str = "quick"  # size; profile in ("quick", "full")
seed: int = 0  # of all random numbers
"""
CONFIG = """\
title: Tiny
only_build_toc_files: true
execute: {execute_notebooks: cache}
sphinx: {recursive_update: true, config: {nb_execution_raise_on_error: true}}
"""
LIBRARY = {
    "__init__.py": """\
        import importlib

        _HOME = {"deep": "far"}


        def __getattr__(name):
            if name not in _HOME:
                raise AttributeError(name)
            return getattr(importlib.import_module(f"tinylib.{_HOME[name]}"), name)
        """,
    "near.py": "from tinylib import base\n\n\ndef near(x):\n    return base.FACTOR * x\n",
    "base.py": "FACTOR = 10\n",
    "far.py": "def deep(x):\n    return x + 1\n",
    "other.py": "unused = True\n",
}
ONE = [
    "from hierlib import book\nfrom tinylib.near import near",
    "import tinylib",
    'print("near", near(m))\nbook.record("near-is-far", near(m), (near(m) - 1, near(m) + 1))',
    'book.save("numbers", {"deep": tinylib.deep(m)})',
    "book.stamp()",
]


def page(title: str, *cells: str, parameters: str = PARAMETERS, prose: str = "Some prose.") -> str:
    fence = "```{{code-cell}} ipython3\n{}{}\n```\n\n"
    text = HEAD + f"# {title}\n\n" + fence.format(":tags: [parameters]\n\n", parameters.rstrip()) + f"{prose}\n\n"
    return text + "".join(fence.format("", cell) for cell in cells)


def make(root: Path, **pages: str) -> Path:
    """Writes the checkout; `pages` are further chapters by file stem."""
    pages = {"01_one": page("One", *ONE), **pages}
    files = {f"book/{name}.md": text for name, text in pages.items()}
    files |= {f"tinylib/{name}": dedent(text) for name, text in LIBRARY.items()}
    files["book/index.md"] = "# A tiny book\n\nNo notebook.\n"
    files["book/claims.yaml"] = "- {id: near-is-far, row: 1, expect: {at_least: 15, se: 1}}\n"
    files["_config.yml"] = CONFIG
    toc = "".join(f"- file: book/{name}\n" for name in pages)
    files["_toc.yml"] = f"format: jb-book\nroot: book/index\nchapters:\n{toc}"
    files["requirements.lock"] = "torch==2.13.0\n"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def get(root: Path, slug: str = "one") -> Chapter:
    return chapter(root, slug)


def hierlib(root: Path, *words: str, **options) -> subprocess.Popen:
    """The command line as a process of its own; it hears Ctrl-C even if the suite was started where that is ignored."""
    program = [sys.executable, "-m", "hierlib.book", *words]
    env = {**os.environ, "COLUMNS": "200"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(program, cwd=root, env=env, text=True, preexec_fn=heed, **pipes, **options)


def finish(process: subprocess.Popen, timeout: float = 240) -> tuple[int, str]:
    """Its exit code and what it printed; a process that hangs is ended and fails the test."""
    try:
        out, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()  # its workers and kernels follow
        raise
    return process.returncode, out
