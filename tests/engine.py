"""The engine of the live figures, run in node or in a page that is opened from a file; and what both are given."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import hierlib as hl

JS = Path(__file__).parents[1] / "book" / "_assets" / "js"
_LISTED = re.search(r"engine: \[(.*?)\]", (JS / "live.js").read_text("utf-8"), re.S)
PARTS = [JS / "engine" / f"{name}.js" for name in re.findall(r'"(\w+)"', _LISTED[1])]  # in the order of their loading


def node(script: str, data: object, *files: str) -> object:
    """Run a script in node; it sees the engine, the exports `T` of the last file, and the JSON `data`; returns JSON."""
    if shutil.which("node") is None and not os.environ.get("CI"):
        pytest.skip("not tested: the live figures (install node)")
    load = [f"require({str(part)!r});" for part in PARTS]
    load += [f"globalThis.T = require({str(JS / file)!r});" for file in files]
    read = "const data = JSON.parse(require('fs').readFileSync(0));"
    program = f"{''.join(load)}{read} console.log(JSON.stringify((() => {{{script}}})()))"
    done = subprocess.run(["node", "-e", program], input=json.dumps(data), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def as_json(g: hl.Grammar) -> dict:
    """A grammar as the live figures, and the engine's Grammar, take it."""
    weights = {} if g.weights is None else {"weights": [table.tolist() for table in g.weights]}
    return {"v": g.v, "m": g.m, "s": g.s, "L": g.L, "rules": [rule.tolist() for rule in g.rules], **weights}


def page(folder: Path) -> Path:
    """A page in a folder that has loaded the engine and nothing else."""
    for part in PARTS:
        shutil.copy(part, folder)
    scripts = "".join(f'<script src="{part.name}"></script>' for part in PARTS)
    path = folder / "index.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>engine</title>{scripts}", "utf-8")
    return path


def opened(tab, folder: Path):
    """Yields what runs a script in such a page; it sees `data`, and `E`, and may await. The console stays silent."""
    complaints = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("console", lambda message: complaints.append(message.text))
    tab.goto(page(folder).as_uri())

    def run(script: str, data: object = None) -> object:  # through JSON: playwright takes seconds for many numbers
        inner = f"(async (data) => {{ const E = Engine; {script} }})(JSON.parse(text))"
        return json.loads(tab.evaluate(f"(text) => {inner}.then(JSON.stringify)", json.dumps(data)))

    yield run
    assert not complaints
    tab.close()
