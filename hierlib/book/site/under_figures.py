"""What unfolds under every figure of a chapter: the run that made it, its data to download, and how to run it again."""

import json
import re
import shlex
import shutil
import time
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from hierlib._files import write_text
from hierlib.book.runs.run import Outcome
from hierlib.book.site import cells

MADE = "made.json"  # in _build: of each page of this build, what made it
DATA = "data"  # in the site: a folder for each chapter, with the files that its run has saved
_NOT_FOR_MAKE = re.compile(r"['\"$#`\\\r\n]")  # P="…" goes through make and a shell


def note_runs(root: Path, runs: Iterable[Outcome], target: Path) -> None:
    """Notes for each page which run made it; what `setup` shows is built from it."""
    made = {}
    for run in runs:
        facts = json.loads((run.folder / "run.json").read_text("utf-8"))
        page = run.job.target.path.relative_to(root).with_suffix("").as_posix()
        kept = {k: facts[k] for k in ("chapter", "parameters", "key", "commit", "started", "seconds")}
        data = {p.name: p.stat().st_size for p in sorted((run.folder / "data").glob("*")) if p.is_file()}
        made[page] = kept | {"device": _device(run.notebook), "folder": str(run.folder), "data": data}
    write_text(target, json.dumps(made, indent=1) + "\n")


def setup(app: Sphinx) -> None:
    """Adds the folded lines to the figures, and the data files to the site."""
    app.connect("doctree-resolved", _unfold_under_figures)
    app.connect("build-finished", _copy_data)


def command(facts: Mapping) -> str:
    """The line for a shell that runs the chapter with the values of this run, to be changed by the reader."""
    values = {k: str(v) for k, v in facts["parameters"].items()}
    words = [f"{k}={shlex.quote(v)}" for k, v in values.items() if not _NOT_FOR_MAKE.search(v)]
    return f"make run CH={facts['chapter']}" + (f' P="{" ".join(words)}"' if words else "")


def behind(figure: Iterable[str], data: Iterable[str]) -> list[str]:
    """Of the files of a chapter those named like the figure: fig-layers is made of layers.nc."""
    wanted = {name.removeprefix("fig-") for name in figure}
    return [name for name in data if name.rpartition(".")[0] in wanted]


def _made(app: Sphinx) -> dict[str, dict[str, Any]]:
    path = Path(app.srcdir) / "_build" / MADE
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _unfold_under_figures(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Adds the folded lines to every figure of an executed page; other builders than that of the site get none."""
    facts = _made(app).get(page) if app.builder.name == "html" else None
    if not facts:
        return
    up = app.builder.get_relative_uri(page, "index").rpartition("/")[0] or "."
    chapter = cells.chapters_of(str(app.srcdir))[facts["chapter"]]
    for figure in list(doctree.findall(nodes.figure)):
        names = figure.get("names", []) + figure.get("ids", [])
        mine = behind(names, facts["data"])
        number = next(filter(None, (cells.cell_with(chapter, name, cells.DRAWS) for name in names)), None)
        cell = f'<a href="{up}/{cells.link(chapter, number)}">{number}</a> of ' if number else ""
        line = command(facts)
        again = nodes.literal_block(line, line, language="sh")
        opening = '<details class="hier-how"><summary>How this figure was made</summary>'
        opening += _facts(facts, mine, up, cell)
        figure += [
            nodes.raw("", f"{opening}<p>Run it again; change what you like:</p>", format="html"),
            again,
            nodes.raw("", "</details>", format="html"),
        ]


def _facts(facts: Mapping, mine: list[str], up: str, cell: str) -> str:
    """A list of terms, as HTML; `cell` is a link to the code, or empty."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(facts["started"]))
    on = f", {escape(facts['device'])}" if facts["device"] else ""
    chapter = f"<code>{escape(facts['chapter'])}</code>"
    rows = {
        "Cell" if cell else "Chapter": f"{cell}{chapter}, at commit {escape(facts['commit'])}",
        "Parameters": escape(", ".join(f"{k} = {v or repr(v)}" for k, v in facts["parameters"].items())) or "none",
        "Run": f"<code>{escape(facts['key'])}</code>, {when}, {facts['seconds']:.0f} s{on}",
    }
    shown, label = (mine, "Data") if mine else (list(facts["data"]), "Data of the page")
    links = [
        f'<a href="{up}/{DATA}/{escape(facts["chapter"])}/{escape(name)}" download>{escape(name)}</a> '
        f"({_size(facts['data'][name])})"
        for name in shown
    ]
    rows |= {label: ", ".join(links)} if links else {}
    return "<dl>" + "".join(f"<dt>{term}</dt><dd>{what}</dd>" for term, what in rows.items()) + "</dl>"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"


def _copy_data(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.name != "html":
        return
    for facts in _made(app).values():
        for name in facts["data"]:
            target = Path(app.outdir) / DATA / facts["chapter"] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(facts["folder"]) / "data" / name, target)


def _device(notebook: Path) -> str:
    """As the chapter's stamp says; "" where it has none."""
    for cell in reversed(json.loads(notebook.read_text("utf-8"))["cells"]):
        for output in cell.get("outputs", []):
            text = "".join(output.get("data", {}).get("text/plain", ""))
            if found := re.search(r"^Device {2,}(.+)$", text, re.M):
                return found[1]
    return ""
