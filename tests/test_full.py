"""profile="full": what a chapter draws is what was checked, and what its stamp, run.json and provenance say."""

import ast
import json
from pathlib import Path

import pytest
import xarray as xr

from hierlib._devices import chosen
from hierlib.book.runs.checkout import chapters, find_checkout
from hierlib.book.runs.params import parse_parameters
from hierlib.book.runs.run import prepare
from hierlib.book.runs.sweep import execute_all

ROOT = find_checkout(Path(__file__).parent)
SCALED = {k: c for k, c in chapters(ROOT).items() if any(p.full is not None for p in c.parameters.values())}
TINY = {"profile": "full", "v": 4, "m": 2, "L": 2, "data": 1, "tables": 2000}


@pytest.mark.timeout(900)
def test_a_chapter_in_full_draws_what_its_stamp_says():
    chapter = SCALED["averaging-over-grammars"]
    declared = chapter.parameters["draws"]
    [done] = execute_all([prepare(chapter, TINY, timeout=600)], workers=1)
    assert done.error is None, f"{done.error}\nthe notebook up to there: {done.notebook}"
    facts = json.loads((done.folder / "run.json").read_text())["parameters"]
    usual = {k: p.default for k, p in chapter.parameters.items()} | {"device": chosen("auto").type}
    assert facts == {**usual, **TINY, "draws": declared.full}
    with xr.open_dataset(done.folder / "data" / "upward-messages.nc") as drawn:
        assert drawn.sizes["draw"] == declared.full != declared.default
        assert json.loads(drawn.attrs["parameters"]) == facts
    assert all(row["parameters"] == facts for row in json.loads((done.folder / "records.json").read_text()))
    outputs = [o for c in json.loads(done.notebook.read_text())["cells"] for o in c.get("outputs", [])]
    stamp = "".join("".join(o.get("data", {}).get("text/plain", "")) for o in outputs)
    where = f"device = {usual['device']}"
    assert f"{where}, v = 4, m = 2, s = 2, L = 2, draws = {declared.full}, data = 1, tables = 2000" in stamp


def rebound(source: str, names: set[str]) -> set[str]:
    """The names that a cell assigns to, but for what stands inside functions, classes and comprehensions."""
    found, todo = set(), [ast.parse(source)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        inner = (ast.FunctionDef, ast.Lambda, ast.ClassDef, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
        todo += [child for child in ast.iter_child_nodes(node) if not isinstance(child, inner)]
    return found & names


@pytest.mark.parametrize("slug", SCALED)
def test_a_parameter_keeps_the_value_that_was_checked(slug):
    """A derivation may take its letters: sizes are kept under other names before."""
    for source, tags in SCALED[slug].code:
        if not {"parameters", "derivation"} & set(tags):
            assert rebound(source, set(SCALED[slug].parameters)) == set()


@pytest.mark.parametrize("slug", SCALED)
def test_full_outside_a_run_is_refused(slug):
    calls = [n for source, _ in SCALED[slug].code for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    [setup] = [n for n in calls if isinstance(n.func, ast.Attribute) and n.func.attr == "setup"]
    placed = ["device"] if "device" in SCALED[slug].parameters else []
    assert [ast.unparse(word) for word in setup.args] == ["seed", "profile", *placed]


def test_a_rebound_parameter_is_noticed():
    names = set(parse_parameters('profile: str = "quick"  # size\ndraws: int = 2  # grammars; full: 8\n'))
    for source in ("draws *= 4", "draws, x = 1, 2", "for draws in (1, 2):\n    pass", "if 1:\n    draws = 3"):
        assert rebound(source, names) == {"draws"}
    assert rebound("x = [draws for draws in (1, 2)]\ndef f():\n    draws = 3", names) == set()
