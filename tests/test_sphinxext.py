"""The foot of each page: the build's stamp, linked to the sources where a repository is named, and to nothing else."""

import pytest
from markupsafe import Markup

from hierlib.book.site.sphinxext import linked

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
