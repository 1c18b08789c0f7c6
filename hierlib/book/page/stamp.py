"""What made a page: the run it is from, and the table that says so under it."""

import html
import json
import os
import time
from pathlib import Path

from hierlib._provenance import commit, device, versions

RUN_DIR = "HIERLIB_RUN_DIR"  # set by the runner: the folder of the run, which holds run.json


def run_folder() -> Path | None:
    """The folder of this run; None where no runner has started the chapter."""
    folder = os.environ.get(RUN_DIR)
    return Path(folder) if folder else None


def run_facts() -> dict:
    """What the runner wrote down before the start: chapter, parameters, key, commit, started. May be empty."""
    folder = run_folder()
    return json.loads((folder / "run.json").read_text("utf-8")) if folder else {}


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
