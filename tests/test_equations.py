"""The table of the paper's equations: complete, and every link leads to one place."""

import re
from pathlib import Path

BOOK = Path(__file__).parents[1] / "book"
PAGE = (BOOK / "equations.md").read_text("utf-8")
SOURCES = {path.name: path.read_text("utf-8") for path in BOOK.glob("[0-9]*.md")}


def rows(title: str) -> list[list[str]]:
    part = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("| \n").split("|")] for line in part.splitlines() if line[:1] == "|"][
        2:
    ]


def places(label: str) -> list[str]:
    label = re.escape(label)
    pattern = rf"^:(?:label|name): {label}$|^\$\$ \({label}\)$|\\label\{{{label}\}}"
    return [name for name, text in SOURCES.items() for _ in re.finditer(pattern, text, re.M)]


def test_every_equation_of_the_paper_is_there_once():
    numbers = [int(n) for row in rows("Equations") for n in re.findall(r"\((\d+)\)", row[0])]
    assert sorted(numbers) == list(range(1, 64))


def test_every_figure_of_the_paper_is_there_once():
    assert [int(row[0]) for row in rows("Figures")] == list(range(1, 17))


def test_every_link_leads_to_one_place():
    labels = re.findall(r"\{(?:eq|numref)\}`([^`]+)`", PAGE)
    assert len(labels) > 55
    assert {label: places(label) for label in labels if len(places(label)) != 1} == {}


def test_equations_say_what_they_are():
    assert {row[-1] for row in rows("Equations")} == {"definition", "derived"}


def test_labels_are_words():
    """The paper's number of an equation is in this table alone: its versions number them differently."""
    labels = {label for text in SOURCES.values() for label in re.findall(r"\beq-[\w-]+", text)}
    assert len(labels) > 60
    assert {label for label in labels if re.fullmatch(r"eq-\d+", label)} == set()
