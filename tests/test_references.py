"""The references: each is cited, and its line on the page leads to the work."""

import re
from functools import cache
from pathlib import Path

import pytest

pybtex = pytest.importorskip("pybtex.database")
from pybtex.plugin import find_plugin  # noqa: E402

BOOK = Path(__file__).parents[1] / "book"
BIB = (BOOK / "references.bib").read_text("utf-8")
KEYS = re.findall(r"^@\w+\{([^,\s]+),", BIB, re.M)
LINKS = (
    r"https://doi\.org/10\.\d{4,9}/\S+",
    r"https://arxiv\.org/abs/(\d{4}\.\d{4,5}|[a-z-]+/\d{7})",
    r"https://(?!(dx\.)?doi\.org|arxiv\.org)[\w.-]+/\S+",  # those two have fields of their own
)


@cache
def references() -> pybtex.BibliographyData:
    return pybtex.parse_string(BIB, "bibtex")


@cache
def lines() -> dict[str, str]:
    """Each entry in the style of the page, as HTML."""
    style = re.search(r"^:style: (\w+)$", (BOOK / "references.md").read_text("utf-8"), re.M)
    assert style, "references.md names no style"
    backend = find_plugin("pybtex.backends", "html")()
    formatted = find_plugin("pybtex.style.formatting", style[1])().format_bibliography(references())
    return {entry.key: entry.text.render(backend) for entry in formatted}


def links(line: str) -> list[str]:
    return re.findall(r'href="([^"]+)"', line)


def test_keys_differ():
    assert sorted(KEYS) == sorted(set(KEYS))
    assert set(KEYS) == set(lines())


def test_every_entry_has_a_link():
    assert [key for key, line in lines().items() if not links(line)] == []


def test_links_are_whole():
    found = [(key, link) for key, line in lines().items() for link in links(line)]
    assert [each for each in found if not any(re.fullmatch(form, each[1]) for form in LINKS)] == []


def test_no_two_entries_lead_to_one_work():
    found = [link.lower() for line in lines().values() for link in links(line)]
    assert sorted(found) == sorted(set(found))


def test_numbers_of_arxiv_are_said_once_and_named():
    """pybtex takes every `eprint` for one of arXiv; a number in another field is no link."""
    entries = references().entries
    assert [key for key, line in lines().items() if line.count("arXiv:") != ("eprint" in entries[key].fields)] == []
    assert {e.fields.get("archivePrefix") for e in entries.values() if "eprint" in e.fields} == {"arXiv"}


def test_every_entry_is_cited_and_every_citation_has_one():
    text = "\n".join(path.read_text("utf-8") for path in BOOK.glob("*.md"))
    cited = {key.strip() for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in keys.split(",")}
    assert cited == set(KEYS)
