"""book/claims.yaml: its schema, that no row of the paper is missing, that chapters answer their claims."""

import ast
import math
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DATA = yaml.safe_load((ROOT / "book" / "claims.yaml").read_text(encoding="utf-8"))
CLAIMS = DATA["claims"]
BY_ID = {c["id"]: c for c in CLAIMS}

REQUIRED = {"id", "row", "where", "sentence", "quantity", "chapter"}
OPTIONAL = {"expect", "condition", "own", "stand_in", "version", "note", "status_if_not_run", "shown", "trivial"}
NUMBER_CHECKS = {
    "at_most": {"at_most", "se"},
    "at_least": {"at_least", "se"},
    "near": {"near", "abs", "se"},
}
CODE_CELL = re.compile(r"^```\{code-cell\}.*?$(.*?)^```$", re.S | re.M)


def rows(claim):
    row = claim["row"]
    return [str(r) for r in (row if isinstance(row, list) else [row])]


def slug(path):
    return re.sub(r"^\d+_", "", path.stem)


def toc_files():
    text = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    return [ROOT / f"{f}.md" for f in re.findall(r"(?:file|root):\s*(\S+)", text)]


def chapters():
    """Sources of the chapters that are in the book now, by slug."""
    return {slug(p): p.read_text(encoding="utf-8") for p in toc_files() if p.exists()}


def named_ids(source):
    """The ids that a chapter's code names: in a string, or in an f-string that can be nothing else."""
    code = "\n".join(re.sub(r"^:.*$", "", cell, flags=re.M) for cell in CODE_CELL.findall(source))
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in BY_ID:
            found.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [re.escape(v.value) if isinstance(v, ast.Constant) else "[a-z0-9]+" for v in node.values]
            if sum(isinstance(v, ast.FormattedValue) for v in node.values) == 1 and len(parts) > 1:
                found |= {i for i in BY_ID if re.fullmatch("".join(parts), i)}
    return found


def is_number(x):
    return isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x)


def check_expect(expect):
    """Raises AssertionError unless `expect` is one of the five forms of the schema."""
    assert isinstance(expect, dict) and expect, expect
    if "holds" in expect:
        assert expect == {"holds": True}, expect
    elif "equals" in expect:
        assert set(expect) == {"equals"}, expect
        values = expect["equals"] if isinstance(expect["equals"], list) else [expect["equals"]]
        assert values and all(is_number(v) or isinstance(v, str) for v in values), expect
    else:
        kind = next((k for k in NUMBER_CHECKS if k in expect), None)
        assert kind and set(expect) <= NUMBER_CHECKS[kind], expect
        assert all(is_number(v) for v in expect.values()), expect
        assert kind != "near" or expect.get("abs", -1) >= 0, expect
        assert expect.get("se", 1) > 0, expect
        assert kind != "near" or expect["abs"] > 0 or "se" in expect, f"no tolerance at all: {expect}"


def test_head():
    assert set(DATA) == {"chapters_to_come", "claims"}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: str(c.get("id")))
def test_schema(claim):
    assert set(claim) >= REQUIRED and set(claim) <= REQUIRED | OPTIONAL
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", claim["id"])
    for r in rows(claim):
        assert re.fullmatch(r"O?[1-9]\d?[a-z]?", r), r
    for key in ("where", "sentence", "quantity", "chapter"):
        assert isinstance(claim[key], str) and claim[key].strip(), key
    assert ("expect" in claim) != ("status_if_not_run" in claim), "exactly one of the two"
    if "expect" in claim:
        check_expect(claim["expect"])
    else:
        assert re.match(r"(not tested here|no verdict): \S", claim["status_if_not_run"])
    for key in ("own", "stand_in"):
        assert claim.get(key, True) is True, key
    if "condition" in claim:
        assert set(claim["condition"]) == {"check", "text"} and "expect" in claim
        assert claim["condition"]["check"] != claim["id"]
        assert "expect" in BY_ID[claim["condition"]["check"]], "the condition must be measured"
    if any(r.startswith("O") for r in rows(claim)):
        assert claim.get("own"), "rows O… are the book's own"


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"true": True},
        {"holds": False},
        {"equals": []},
        {"at_most": "0.1"},
        {"at_most": 1, "at_least": 0},
        {"near": 1},
        {"near": 1, "abs": -0.1},
        {"near": 1, "abs": 0},
        {"near": float("nan"), "abs": 1},
        {"at_least": 0, "se": 0},
        {"at_least": 0, "ste": 3},
    ],
)
def test_schema_can_fail(bad):
    with pytest.raises(AssertionError):
        check_expect(bad)


def test_what_shows_a_claim_is_there_once():
    book = "\n".join(chapters().values())
    for claim in CLAIMS:
        label = claim.get("shown")
        if label and claim["chapter"] not in DATA["chapters_to_come"]:
            kind = "label" if label.startswith("eq-") else "name"
            assert len(re.findall(rf"^:{kind}: {re.escape(label)}$", book, re.M)) == 1, (claim["id"], label)
        if "figure" in claim["where"] and "expect" in claim:
            assert label, f"{claim['id']} is about a figure of the paper, and shows none"


def test_naming_an_id_is_told_from_not_naming_it():
    cell = "```{code-cell} ipython3\n:tags: [x]\n%s\n```\n"
    assert named_ids(cell % 'book.record("bp-is-exact", 1.0)') == {"bp-is-exact"}
    assert named_ids(cell % 'claim(f"old-{what}-in-a-new-class", 1.0)') >= {"old-pairs-in-a-new-class"}
    assert not named_ids(cell % 'record(f"{a}{b}")') | named_ids("bp-is-exact") | named_ids(cell % "x = 1")


def test_ids_and_rows_are_unique():
    for names in ([c["id"] for c in CLAIMS], [r for c in CLAIMS for r in rows(c)]):
        assert sorted(names) == sorted(set(names))


def test_every_row_is_here():
    found = {re.match(r"O?\d+", r)[0] for c in CLAIMS for r in rows(c)}
    assert found == {str(n) for n in range(1, 61)} | {f"O{n}" for n in range(1, 20)}


def test_chapters_exist_or_are_to_come():
    here, to_come = set(chapters()), set(DATA["chapters_to_come"])
    named = {c["chapter"] for c in CLAIMS}
    assert not here & to_come, "written: strike them from chapters_to_come"
    planned = {slug(p) for p in toc_files()}
    assert named <= planned | to_come
    assert to_come <= named, "to come, but no claim waits for it"


@pytest.mark.parametrize("name", sorted({c["chapter"] for c in CLAIMS} - set(DATA["chapters_to_come"])))
def test_every_claim_is_recorded_in_its_chapter(name):
    assert name in chapters(), f"_toc.yml names the chapter {name}, its file is missing"
    recorded = named_ids(chapters()[name])
    due = {c["id"] for c in CLAIMS if c["chapter"] == name and "expect" in c}
    assert due <= recorded, f"chapter {name} does not record {sorted(due - recorded)}"
    for id_ in recorded:
        assert BY_ID[id_]["chapter"] == name, f"{id_} is due in {BY_ID[id_]['chapter']}, recorded in {name}"
