"""The page of claims: a Sphinx directive that lists every row of book/claims.yaml with its computed verdict."""

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from hierlib.book.page.results import claims
from hierlib.book.runs.checkout import Chapter, chapters
from hierlib.book.site import cells
from hierlib.book.site.ledger import expected, measured, verdicts, would_take

ANSWERS = "answers.json"  # in _build: what the chapters of this build have recorded
PAGES = "benchmarks/results/pages.json"  # bytes and first paint of each page; benchmarks/pages.py writes it
NOT_IN_THE_PAPER = "shape only: not in the paper"
_PRINTED = {r"\balpha_bar\b": "ᾱ", r"\beps\b": "ε", "<=": "≤", ">=": "≥", r" - (?=\S)": " − "}
#: Of whom a claim can be, as the directive calls it, and as the table's head does.
WHOSE = {"paper": "of the paper", "data": "on other data", "own": "of this book"}
VERDICTS = ("reproduced", "qualified", "not resolved", "differs", "no verdict", "not tested here", "not answered yet")


def setup(app: Sphinx) -> None:
    """Connects the directive, and the script that narrows what it lists, to Sphinx."""
    app.add_directive("ledger", Ledger)
    app.connect("html-page-context", _add_filter)


def _add_filter(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    boxes = doctree.findall(nodes.container) if doctree is not None else ()
    if any("claim" in box["classes"] for box in boxes):
        app.add_js_file("js/ledger.js", loading_method="defer")  # on this page only, as this event is of one page


class Ledger(SphinxDirective):
    """``{ledger} counts`` is the table of verdicts; ``paper``, ``data`` and ``own`` list the claims of each kind.

    ``{ledger} pages`` is the table of what each page of the site costs a reader.
    """

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The part of the page that the directive names."""
        root = Path(self.env.srcdir)
        if self.arguments[0] == "pages":
            self.env.note_dependency(str(root / PAGES))
            kept = json.loads((root / PAGES).read_text("utf-8")) if (root / PAGES).exists() else None
            return _pages(kept, self.env.found_docs)
        path = root / "_build" / ANSWERS
        rows, answers = claims(root), json.loads(path.read_text("utf-8")) if path.exists() else {}
        for file in (path, root / "book" / "claims.yaml"):
            self.env.note_dependency(str(file))
        found = verdicts(rows, answers)
        part = self.arguments[0]
        if part == "counts":
            return [_counts(rows, found), *_lists(rows, found)]
        if part not in WHOSE:
            raise self.error(f"ledger: expected counts, {', '.join(WHOSE)} or pages, got {part!r}")
        known = chapters(root)
        chosen = [row for row in rows.values() if whose(row) == part]
        entry = {r["id"]: _entry(r, found[r["id"]], answers.get(r["id"]), known.get(r["chapter"])) for r in chosen}
        trivial = [row for row in chosen if row.get("trivial")]
        told = [entry[row["id"]] for row in chosen if not row.get("trivial")]
        return told + (_folded([entry[row["id"]] for row in trivial], trivial) if trivial else [])


def whose(claim: Mapping) -> str:
    """Of whom a claim is, of `WHOSE`: the paper's on its data, the paper's on other data, or this book's own."""
    return "own" if claim.get("own") else "data" if claim.get("stand_in") else "paper"


def _counts(rows: dict, found: dict) -> nodes.table:
    """Verdicts by whose claim it is."""
    count = {kind: Counter(found[id] for id, row in rows.items() if whose(row) == kind) for kind in WHOSE}
    body = [[word, *(str(count[k][word]) for k in WHOSE)] for word in VERDICTS if any(count[k][word] for k in WHOSE)]
    body.append(["all", *(str(sum(count[k].values())) for k in WHOSE)])
    return _table(["verdict", *WHOSE.values()], body, "ledger-counts")


def _folded(entries: list[nodes.container], rows: list[dict]) -> list[nodes.Node]:
    """Claims that could hardly come out otherwise, behind one line."""
    numbers = ", ".join(map(_number, rows))
    line = f"What holds by definition or by arithmetic, and is checked all the same: rows {numbers}"
    opening = f'<details class="claims-folded"><summary>{line}</summary>'
    return [nodes.raw("", opening, format="html"), *entries, nodes.raw("", "</details>", format="html")]


def _lists(rows: dict, found: dict) -> list[nodes.paragraph]:
    """Links to the claims that are not plainly reproduced, by verdict."""
    lines = []
    for verdict in ("qualified", "not resolved", "differs"):
        line = nodes.paragraph("", "", nodes.strong("", verdict.capitalize()), nodes.Text(": "))
        mine = [row for id, row in rows.items() if found[id] == verdict]
        for count, row in enumerate(mine):
            link = nodes.reference("", _number(row), refuri=f"#claim-{row['id']}", internal=True)
            line += [nodes.Text(", "), link] if count else [link]
        lines += [line] if mine else []
    return lines


def _number(claim: dict) -> str:
    return ", ".join(map(str, claim["row"])) if isinstance(claim["row"], list) else str(claim["row"])


def _pages(result: dict | None, there: Collection[str]) -> list[nodes.Node]:
    """Bytes and first paint of the pages that are there, heaviest first, and how they were measured."""
    if result is None:
        command = nodes.literal("", "make book && python benchmarks/pages.py")
        return [nodes.paragraph("", "Not measured for this edition; ", command, nodes.Text(" does it."))]
    known = {name: row for name, row in result["pages"].items() if name in there}
    body = [
        [
            _link(name),
            f"{row['kB'] / 1e3:.2f} MB",
            f"{row['first_paint_ms'] / 1e3:.2f} s",
            f"{row['live_ms'] / 1e3:.2f} s" if "live_ms" in row else "–",
        ]
        for name, row in sorted(known.items(), key=lambda item: -item[1]["kB"])
    ]
    made = result["provenance"]
    text = f"Measured on {made['date']} at commit {made['commit']} ({made['machine']}) by "
    how = nodes.paragraph("", text, nodes.literal("", made["command"]), nodes.Text("."))
    return [_table(["page", "loaded", "first paint", "live figures"], body, "ledger-pages"), how]


def _table(head: list, body: list[list], name: str) -> nodes.table:
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in head), cols=len(head))
    group += nodes.thead("", _row(head))
    group += nodes.tbody("", *map(_row, body))
    return nodes.table("", group, classes=[name])


def _row(words: list[str | nodes.Node]) -> nodes.row:
    cells = [nodes.paragraph("", word) if isinstance(word, str) else nodes.paragraph("", "", word) for word in words]
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def _entry(claim: dict, verdict: str, answer: dict | None, chapter: Chapter | None) -> nodes.container:
    """One claim: its verdict, its sentence, what was expected of which quantity, what was measured, and where."""
    classes = ["claim", f"claim-{verdict.replace(' ', '-')}", f"claim-of-{whose(claim)}"]
    if chapter:  # the page's filter reads verdict, whose, and chapter from the classes
        classes += [f"claim-in-{chapter.slug}"]
    box = nodes.container(classes=classes, ids=[f"claim-{claim['id']}"])
    head = nodes.paragraph(classes=["claim-head"])
    head += nodes.inline("", verdict, classes=["claim-verdict"])
    head += nodes.inline("", f"{_number(claim)} · {claim['where']}", classes=["claim-where"])
    shape_only = claim["sentence"].startswith("shape only")
    quote = claim["sentence"] if shape_only else f"“{claim['sentence']}”"
    quantity = claim["quantity"].strip().rstrip(".")
    facts = nodes.paragraph(classes=["claim-facts"])
    if quote == NOT_IN_THE_PAPER:  # then the quantity is the claim
        quote = quantity
    else:
        facts += _words(f"{quantity}. ")
    box += [head, nodes.paragraph("", "", *_words(quote.strip()), classes=["claim-sentence"])]
    why = "status_if_not_run" in claim
    facts += _words(f"Why: {expected(claim)}. " if why else f"Expected: {expected(claim)}. ")
    if answer:
        facts += [nodes.strong("", f"Measured: {measured(answer)}"), nodes.Text(". ")]
        if made := answer.get("made"):
            facts += [nodes.Text("By "), nodes.literal("", made["command"])]
            facts += _words(f", {made['date']}, commit {made['commit']}; in this build {measured(answer['here'])}. ")
    condition = f"condition: {claim['condition']['text']}" if "condition" in claim else ""
    more = would_take(claim, answer) if answer and verdict == "not resolved" else ""
    for note in filter(None, (condition, more, claim.get("note"), _standing(claim))):
        facts += _words(note[:1].upper() + note.strip().rstrip(".")[1:] + ". ")
    box += facts
    if chapter:
        box += _where(claim, chapter)
    return box


def _words(text: str) -> list[nodes.Node]:
    """Text of claims.yaml, with P_L, <= and eps as one would print them."""
    for plain, printed in _PRINTED.items():
        text = re.sub(plain, printed, text)
    parts = re.split(r"(?<![A-Za-z])(d?[A-Za-z])_(\w+|\([^()]+\))", text)
    found = [nodes.Text(parts[0])]
    for symbol, index, rest in zip(*(parts[i::3] for i in (1, 2, 3)), strict=True):
        found += [nodes.Text(symbol), nodes.subscript("", index), nodes.Text(rest)]
    return found


def _where(claim: dict, chapter: Chapter) -> nodes.paragraph:
    """Links: the chapter, the figure or equation that shows the claim, the cell of code that answers it."""
    links = [_link(chapter.path.relative_to(chapter.root).with_suffix("").as_posix())]
    if shown := claim.get("shown"):
        domain, kind = ("math", "eq") if shown.startswith("eq-") else ("std", "numref")
        links.append(_xref(domain, kind, shown))
    if number := cells.cell_with(chapter, claim["id"], cells.ANSWERS):
        uri = f"../{cells.link(chapter, number)}"
        links.append(nodes.reference("", f"code, cell {number}", refuri=uri, internal=True))
    line = nodes.paragraph(classes=["claim-links"])
    for count, each in enumerate(links):
        line += [nodes.Text(" · "), each] if count else [each]
    return line


def _standing(claim: dict) -> str:
    words = ["on other data than the paper's, for which alone it speaks"] if claim.get("stand_in") else []
    words += [f"said in version {claim['version'].removeprefix('v')} of the paper only"] if "version" in claim else []
    return "; ".join(words)


def _link(page: str) -> addnodes.pending_xref:
    """A link to a page, by its title."""
    return _xref("std", "doc", f"/{page}")


def _xref(domain: str, kind: str, target: str) -> addnodes.pending_xref:
    return addnodes.pending_xref(
        "", nodes.inline("", target), refdomain=domain, reftype=kind, reftarget=target, refexplicit=False, refwarn=True
    )
