"""The foot of each page: the build's stamp, linked to the sources where a repository is named, and to nothing else."""

import pytest
from docutils import nodes
from docutils.utils import new_document
from markupsafe import Markup

from hierlib.book.site.sphinxext import _keep_numbers, _keep_punctuation, linked

STAMP = "hierlib 0.1 · commit 0123456789 · built 2026-01-02"


def test_without_a_repository_there_is_no_link():
    assert linked(STAMP, "") == Markup(STAMP)


@pytest.mark.parametrize("address", ["https://example.org/a/b", "https://example.org/a/b/"])
def test_the_commit_leads_to_the_sources(address):
    link = '<a href="https://example.org/a/b/commit/0123456789">commit 0123456789</a>'
    assert linked(STAMP, address) == Markup(f"hierlib 0.1 · {link} · built 2026-01-02")


def test_a_tree_with_changes_and_one_without_git():
    assert "/commit/0123456789" in linked(STAMP.replace("9 ·", "9 + changes ·"), "https://example.org/a")
    assert 'href="https://example.org/a">commit unknown<' in linked("commit unknown · built", "https://example.org/a")


def test_nothing_is_markup_that_was_none():
    assert "<b>" not in linked("hierlib <b> · commit 0123456789 · built", '"><b>')


def test_punctuation_is_tied_to_its_own_formula():
    """Texts that are equal, here the commas, are not taken for each other."""
    words = ["at ", "32", ", ", "m=8", " (", "x", ") it is ", "y", ", at ", "v=16", ", ", "m=4", " 20 000 ", "z", "."]
    paragraph = nodes.paragraph()
    for word in words:
        made = nodes.math if word[0] in "vmxyz" else nodes.strong if word.isdigit() else None
        paragraph += made("", word) if made else nodes.Text(word)
    document = new_document("a page")
    document += paragraph
    _keep_punctuation(None, document, "a page")
    _keep_numbers(None, document, "a page")
    assert paragraph.astext() == "".join(words).replace("20 000", "20\N{NO-BREAK SPACE}000")
    tied = [each.astext() for each in document.findall(nodes.inline)]
    assert tied == ["(x)", "y,", "v=16,", "z."]
