"""What made a result: commit, versions, seed, parameters, device, duration."""

import html
import importlib.metadata
import json
import os
import platform
import subprocess
import time
from functools import lru_cache
from pathlib import Path

RUN_DIR = "HIERLIB_RUN_DIR"  # set by the runner: the folder of the run, which holds run.json
_PACKAGES = ("hierlib", "torch", "numpy", "diffusers")


def run_folder() -> Path | None:
    """The folder of this run; None where no runner has started the chapter."""
    folder = os.environ.get(RUN_DIR)
    return Path(folder) if folder else None


def run_facts() -> dict:
    """What the runner wrote down before the start: chapter, parameters, key, commit, started. May be empty."""
    folder = run_folder()
    return json.loads((folder / "run.json").read_text("utf-8")) if folder else {}


def versions() -> dict[str, str]:
    """Of Python and the packages that results depend on most; the lock has the others."""
    return dict(_versions())


@lru_cache
def _versions() -> dict[str, str]:
    """Read once a process, as packages are imported once: a sweep asks at every point."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit(folder: Path) -> str:
    """The commit checked out in `folder`, with "+ changes" where the tree differs from it, or "unknown"."""

    def git(*words: str) -> str:
        ask = ["git", "-C", str(folder), *words]
        return subprocess.run(ask, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout.strip()

    try:
        name = git("rev-parse", "--short=10", "HEAD")
        return f"{name} + changes" if git("status", "--porcelain") else name
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def device() -> str:
    """The accelerator that this process has used, or the processor."""
    import torch

    if torch.cuda.is_initialized():
        return f"{torch.cuda.get_device_name()} (CUDA {torch.version.cuda})"
    threads = torch.get_num_threads()
    return f"CPU, {platform.machine()}, {threads} thread{'s' * (threads > 1)}"


class Stamp:
    """A small table of facts that shows as HTML, Markdown and plain text, whatever the values hold."""

    def __init__(self, facts: dict[str, str]):
        self.facts = facts

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row">{html.escape(k)}</th><td>{html.escape(v)}</td></tr>' for k, v in self.facts.items()
        )
        return f'<table class="hier-made"><caption>What made this page</caption><tbody>{rows}</tbody></table>'

    def _repr_markdown_(self) -> str:
        def cell(text: str) -> str:  # no value may open markup or another column
            return "".join(f"\\{c}" if c in r"\`*_{}[]()#+!|<>&$~" else c for c in text)

        return "\n".join(
            ["| What | made this page |", "|---|---|"] + [f"| {k} | {cell(v)} |" for k, v in self.facts.items()]
        )

    def __repr__(self) -> str:
        width = max(map(len, self.facts))
        return "\n".join(f"{k:{width}}  {v}" for k, v in self.facts.items())


def stamp() -> Stamp:
    """The last line of a chapter: what made it. Of a cached chapter it is the run that made it."""
    facts = run_facts()
    values = facts.get("parameters", {})
    shown = [f"{k} = {repr(v) if v == '' else v}" for k, v in values.items() if k != "seed"]
    table = {
        "Commit": facts.get("commit") or commit(Path.cwd()),
        "Versions": ", ".join(f"{k} {v}" for k, v in versions().items()),
        "Seed": str(values.get("seed", "not known outside a run of `make book`")),
        "Parameters": ", ".join(shown) or "those of the source",
        "Device": device(),
    }
    if facts:
        table["Date"] = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(facts["started"]))
        table["Duration"] = f"{time.time() - facts['started']:.0f} s"
    return Stamp(table)
