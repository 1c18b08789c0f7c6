"""The page of claims: every claim once, with the verdict that its answer gives, and nothing typed by hand."""

import ast
import json
import re
from functools import lru_cache
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from sphinx import addnodes

from hierlib.book.page.results import claims
from hierlib.book.runs.checkout import chapters
from hierlib.book.site.cells import ANSWERS as ANSWERING
from hierlib.book.site.cells import cell_with, names_used
from hierlib.book.site.ledger import expected, measured, outcome, verdicts, would_take
from hierlib.book.site.ledger_page import ANSWERS, VERDICTS, _counts, _entry, _folded, _lists, _pages, _words

from . import browser as b
from .browser import SITE

ROOT = Path(__file__).resolve().parents[1]
CLAIM = {
    "id": "a-claim",
    "row": "1a",
    "where": "section 1",
    "sentence": "it <b>falls</b>",
    "quantity": "a number",
    "chapter": "x",
    "expect": {"at_most": 0.5},
}


def entry(value, **changes):
    claim, answer = CLAIM | changes, {"id": "a-claim", "value": value, "interval": None}
    verdict = verdicts({"a-claim": claim}, {"a-claim": answer})["a-claim"]
    return _entry(claim, verdict, answer, None)


def test_a_wrong_value_flips_what_the_page_says():
    assert "claim-reproduced" in entry(0.4)["classes"] and "reproduced" in entry(0.4).astext()
    assert "claim-differs" in entry(0.6)["classes"] and "reproduced" not in entry(0.6).astext()


def right_and_wrong(expect):
    """An answer that a claim expects, and one that it does not."""
    values = {
        "holds": lambda x: (True, False),
        "equals": lambda x: (x, [*x[1:], "other"] if isinstance(x, list) else x + 1),
        "at_most": lambda x: (x - 1, x + 1),
        "at_least": lambda x: (x + 1, x - 1),
        "near": lambda x: (x, x + expect["abs"] + 1),
    }
    (form,) = set(expect) & set(values)
    for value in values[form](expect[form]):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        yield {"value": value, "interval": [value, value] if number else None}


def test_a_wrong_value_flips_the_verdict_of_every_claim_that_is_measured():
    rows = {i: row for i, row in claims(ROOT).items() if "expect" in row}
    right, wrong = ({i: answer for i, answer in zip(rows, some)} for some in zip(*map(_both, rows.values())))
    before = verdicts(rows, right)
    assert set(before.values()) == {"reproduced", "qualified"} and len(rows) > 120
    for i in rows:
        after = verdicts(rows, right | {i: wrong[i]})
        assert after[i] == "differs"
        others = {k: v for k, v in after.items() if k != i and v != before[k]}
        waiting = {k for k, row in rows.items() if row.get("condition", {}).get("check") == i}
        assert others.keys() == waiting and set(others.values()) <= {"reproduced"}, (
            "a condition that fails, and no more"
        )


def _both(row):
    return tuple(right_and_wrong(row["expect"]))


def test_an_entry_says_what_was_asked_and_what_came():
    text = entry(0.25, note="A remark", stand_in=True, version="v3").astext()
    for words in ("1a · section 1", "“it <b>falls</b>”", "Expected: at most 0.5.", "Measured: 0.25.", "A remark."):
        assert words in text
    assert "On other data than the paper" in text and "version 3 of the paper only" in text
    why = _entry({**CLAIM, "status_if_not_run": "not tested here: no data"}, "not tested here", None, None).astext()
    assert "Why: no data." in why and "Measured" not in why


@pytest.mark.parametrize(
    "expect, words",
    [
        ({"holds": True}, "it holds"),
        ({"equals": [1, 2.5]}, "1, 2.5, exactly"),
        ({"near": 0.5, "abs": 0.01}, "0.5 within 0.01"),
        ({"near": 0, "abs": 0, "se": 3}, "0 within 3 standard errors; no tolerance was written down"),
        ({"near": 0.5, "abs": 0.01, "se": 2}, "0.5 within 0.01"),
        ({"at_least": 1, "se": 3}, "at least 1 by 3 standard errors or more"),
    ],
)
def test_expectations_in_words(expect, words):
    assert expected({"expect": expect}) == words


@pytest.mark.parametrize(
    "expect, value, half, words",
    [
        ({"near": 0, "abs": 0.05, "se": 3}, 0.03, 0.04, "about 4 times as many"),
        ({"near": 0, "abs": 0.05}, 0.07, 0.04, "about 4 times as many"),
        ({"at_least": 0.9}, 0.92, 0.03, "about 2.2 times as many"),
        ({"at_least": 0.9, "se": 3}, 0.92, 0.0195, "about 2.2 times as many"),
        ({"at_most": 0, "se": 3}, 0.02, 0.0392, "about 3.8 times as many"),
        ({"at_least": 0.9}, 0.901, 0.05, "a hundred times as many data need not decide"),
        ({"near": 0, "abs": 0, "se": 3}, 0.1, 0.2, "since it has no tolerance"),
    ],
)
def test_what_would_decide_a_claim_that_is_not_resolved(expect, value, half, words):
    answer = {"value": value, "interval": [value - half, value + half]}
    assert outcome({"expect": expect}, answer) == "not resolved"
    assert words in would_take({"expect": expect}, answer)


def test_an_entry_that_is_not_resolved_says_what_would_decide_it():
    row = {**CLAIM, "expect": {"at_least": 0.9}}
    answer = {"value": 0.92, "interval": [0.89, 0.95]}
    assert "about 2.2 times as many data would decide" in _entry(row, "not resolved", answer, None).astext()
    assert "would decide" not in _entry(row, "reproduced", answer, None).astext()


def test_answers_in_words():
    assert measured({"value": 0.123456, "interval": [0.1, 0.2]}) == "0.123 [0.100, 0.200]"
    assert measured({"value": -4.2e-5, "interval": [-1.3e-4, 4.7e-5]}) == "−0.000042 [−0.000130, 0.000047]"
    assert measured({"value": 1.0, "interval": [1.0, 1.0]}) == "1"
    assert measured({"value": True, "interval": None}) == "yes"


def test_symbols_are_printed_as_such():
    words = _words("P_(k-1) - P_0 of m_KS at eps <= alpha_bar, |dP_L/d ln t|, log_2x")
    assert "".join(w.astext() for w in words) == "P(k-1) − P0 of mKS at ε ≤ ᾱ, |dPL/d ln t|, log_2x"
    assert [w.astext() for w in words if isinstance(w, nodes.subscript)] == ["(k-1)", "0", "KS", "L"]


def test_the_claims_that_are_not_plainly_reproduced_are_listed():
    rows = {"a": CLAIM | {"id": "a"}, "b": CLAIM | {"id": "b", "row": ["2", "O1"]}}
    (line,) = _lists(rows, {"a": "reproduced", "b": "differs"})
    assert line.astext() == "Differs: 2, O1"
    assert [link["refuri"] for link in line.findall(nodes.reference)] == ["#claim-b"]


def test_counts_add_up():
    rows = {"a": CLAIM, "b": CLAIM | {"own": True}, "c": CLAIM, "d": CLAIM | {"stand_in": True}}
    text = _counts(rows, {"a": "differs", "b": "reproduced", "c": "differs", "d": "differs"}).astext()
    cells = [cell for cell in text.split("\n\n") if cell]
    assert cells[:4] == ["verdict", "of the paper", "on other data", "of this book"]
    assert cells[4:] == ["reproduced", "0", "0", "1", "differs", "2", "1", "0", "all", "2", "1", "1"]


def test_an_entry_says_in_its_classes_what_the_filter_asks_for():
    assert {"claim", "claim-reproduced", "claim-of-paper"} <= set(entry(0.4)["classes"])
    assert "claim-of-data" in entry(0.4, stand_in=True)["classes"]
    assert "claim-of-own" in entry(0.4, own=True, stand_in=True)["classes"], "a finding of this book on any data"


def test_trivial_claims_are_folded_and_still_there():
    before, box, after = _folded([entry(0.4)], [CLAIM])
    assert before.astext().startswith("<details") and "rows 1a" in before.astext()
    assert "claim" in box["classes"] and after.astext() == "</details>"


def test_what_a_page_costs_heaviest_first_and_only_of_pages_that_are_there():
    rows = {name: {"kB": size, "first_paint_ms": 250} for name, size in {"a": 1900, "b": 2040, "gone": 9}.items()}
    rows["a"]["live_ms"] = 612
    made = {"date": "2026-01-02", "commit": "abc", "machine": "one core", "command": "python benchmarks/pages.py"}
    table, how = _pages({"pages": rows, "provenance": made}, {"a", "b"})
    links = [link["reftarget"] for link in table.findall(addnodes.pending_xref)]
    assert links == ["/b", "/a"] and "2.04 MB" in table.astext() and "0.25 s" in table.astext()
    assert table.astext().split()[-6:] == ["1.90", "MB", "0.25", "s", "0.61", "s"]
    assert how.astext() == "Measured on 2026-01-02 at commit abc (one core) by python benchmarks/pages.py."
    assert "benchmarks/pages.py" in _pages(None, {"a"})[0].astext()


def test_names_that_code_takes():
    code = (
        "import hierlib as hl\nfrom hierlib.experiments.curves import half_height as h\n"
        "hl.infer(g); hl.meanfield.solve(1); h; x.y"
    )
    found = names_used(ast.parse(code))
    assert {"hierlib.inference.infer", "hierlib.theory.meanfield.solve"} <= found, "by their homes"
    assert "hierlib.experiments.curves.half_height" in found
    assert not any(name.startswith("hierlib.x") for name in found)


@pytest.fixture(scope="module")
def boxes():
    """The claims on the built page, by id."""
    page = SITE / "book" / "ledger.html"
    if not page.exists() or not (SITE.parent / ANSWERS).exists():
        pytest.fail("there is no page of claims in _build/html: run `make book` first")
    found = BeautifulSoup(page.read_text("utf-8"), "html.parser").select(".claim")
    return {box["id"].removeprefix("claim-"): box for box in found}


def test_the_site_lists_every_claim_with_todays_verdict(boxes):
    rows, answers = claims(ROOT), json.loads((SITE.parent / ANSWERS).read_text())
    found = verdicts(rows, answers)
    assert set(found.values()) <= set(VERDICTS)
    assert boxes.keys() == rows.keys()
    for i, verdict in found.items():
        assert boxes[i].select_one(".claim-verdict").text == verdict


def test_every_measured_claim_leads_to_its_chapter_its_figure_and_the_cell_that_answers_it(boxes):
    rows, known = claims(ROOT), chapters(ROOT)
    for i, row in rows.items():
        links = {a.get_text(): a["href"] for a in boxes[i].select(".claim-links a")}
        if row["chapter"] not in known:
            assert links == {}
            continue
        chapter = known[row["chapter"]]
        assert f"{chapter.path.stem}.html" in links.values(), i
        if "shown" in row:
            assert any(href.endswith(f"#{row['shown']}") or "#equation-" in href for href in links.values()), i
        if "expect" in row:
            page, _, anchor = next(href for text, href in links.items() if text.startswith("code, cell")).partition("#")
            cell = code(SITE / "book" / page).find(id=anchor)
            assert cell_with(chapter, i, ANSWERING) == int(anchor.removeprefix("cell-"))
            assert re.search(r"\b(record|records|claim)\(", cell.get_text()), i


@lru_cache
def code(path):
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def test_the_filter_narrows_the_page_and_keeps_its_state_in_the_address(browser, site):
    page = f"{site.as_uri()}/book/ledger.html"
    with b.visit(browser, page) as seen:
        shown = seen.page.locator(".claim:visible")
        seen.page.locator(".claims-filter select[name=verdict]").select_option("differs")
        some = shown.count()
        assert 0 < some < 60 and seen.page.locator(".claims-filter output").inner_text().startswith(f"{some} of ")
        assert set(shown.locator(".claim-verdict").all_inner_texts()) == {"differs"}
        seen.page.locator(".claims-filter select[name=of]").select_option("data")
        assert seen.page.url.endswith("#verdict=differs&of=data") and shown.count() < some
        assert seen.page.locator("section#of-this-book").is_hidden(), "no heading without a claim"
        address = seen.page.url
        seen.page.go_back()
        assert shown.count() == some
        assert not seen.complaints
    with b.visit(browser, address) as seen:
        assert seen.page.locator(".claims-filter select[name=of]").input_value() == "data"
        seen.page.goto(f"{page}#claim-rules-are-uniform")
        assert seen.page.locator("#claim-rules-are-uniform").is_visible(), "a link to a folded claim opens the fold"


def test_the_filter_lists_the_chapters_as_the_contents_do(browser, site):
    with b.visit(browser, (site / "book" / "ledger.html").as_uri()) as seen:
        options = seen.page.locator(".claims-filter select[name=chapter] option").all_inner_texts()[1:]
        contents = [each.strip() for each in seen.page.locator("nav.bd-links a").all_inner_texts()]
    options = [each for each in options if each != "none yet"]
    assert len(options) > 10 and options == [each for each in contents if each in options]
    numbers = [int(found[1]) for each in options if (found := re.match(r"(\d+)\. ", each))]
    assert numbers == sorted(set(numbers)) and len(numbers) >= len(options) - 2


def test_the_filter_takes_its_choice_from_a_link_too(browser, site):
    """The search leads to the claims that differ; the theme's scripts cannot stand a = behind #."""
    with b.visit(browser, (site / "book" / "ledger.html").as_uri() + "?verdict=differs") as seen:
        choice = seen.page.locator(".claims-filter select[name=verdict]")
        assert choice.input_value() == "differs" and not seen.complaints
        choice.select_option("")
        assert "differs" not in seen.page.url
        seen.page.go_back()
        assert choice.input_value() == "differs"
