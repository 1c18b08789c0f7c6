"""The index of the site's search, and that fifteen things which readers look for are among the first that it finds."""

import json
import re
from urllib.parse import quote

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from hierlib.book.site.search import TEXTS, Entry, entries, name_by, packed, readable, unpacked

from . import browser as b
from .browser import SITE

PAGE = """
A page
======
Its *own* words,
over two lines.

.. raw:: html

   <svg>drawn</svg>

A part
------
Text of the part::

    code()
"""


def test_each_section_has_its_own_text_and_nothing_drawn():
    doctree = publish_doctree(PAGE, settings_overrides={"doctitle_xform": False})
    page, part = entries(doctree)
    assert page == ("a-page", "A page", "Its own words, over two lines.", ())
    assert part == ("a-part", "A part", "Text of the part:", ())


def test_readers_words_go_to_their_section_and_a_place_that_is_lost_is_said():
    found = {"book/a": [Entry("a", "A page", ""), Entry("part", "A part", "its text")]}
    words = {"a": ["top"], "a#part": ["keep", "store"], "a?x=1": {"title": "Of these", "words": ["few"]}}
    assert name_by(found, words | {"a#gone": ["x"], "b": ["y"]}) == ["a#gone", "b"]
    assert [(each.anchor, each.words) for each in found["book/a"]] == [
        ("a", ("top",)),
        ("part", ("keep", "store")),
        ("?x=1", ("few",)),
    ]


def test_each_symbol_and_each_term_of_the_notation_is_an_entry(site):
    parts = dict(unpacked((site / "_static" / TEXTS).read_text("utf-8")))
    found = {title: (anchor, text, *words) for anchor, title, text, *words in parts["book/notation.html"]}
    _, text, words = found["ε"]
    assert words == ["epsilon"] and text.startswith("leaf noise of the theory") and "eps" in text
    assert found["half height"][0].startswith("term-") and "half-way between" in found["half height"][1]
    source = (b.ROOT / "book" / "notation.md").read_text("utf-8")
    rows, terms = (
        re.findall(r"^\| \$.*", source, re.M),
        re.findall(r"^\w.*(?=\n  )", source.split("{glossary}")[1], re.M),
    )
    anchors = [anchor for anchor, *_ in parts["book/notation.html"]]
    assert len(anchors) == len(set(anchors))
    assert sum(anchor.startswith("symbol-") for anchor in anchors) == len(rows) > 40
    assert sum(anchor.startswith("term-") for anchor in anchors) == len(terms) > 20


def test_formulas_become_words():
    text = nodes.paragraph(
        "", "", nodes.Text("below "), nodes.math("", r"m_c = \frac{v^{s-1}}{F'(1)}"), nodes.Text(".")
    )
    doctree = nodes.section("", nodes.title("", "t"), text, ids=["t"])
    assert entries(doctree)[0].text == "below m_c = v^s-1F'(1)."
    assert readable(r"p^\ast,\ \bar x") == "p*, x\N{COMBINING MACRON}"
    assert readable(r"\varepsilon \to \Lambda, \mathrm{d}\ln t") == "ε → Λ, d ln t"


def test_the_texts_are_small_and_a_script():
    text = (SITE / "_static" / TEXTS).read_text("utf-8")
    assert len(text.encode()) <= 400_000
    pages = unpacked(text)
    assert packed(pages) == text and len(json.dumps(pages)) > 2 * len(text)
    assert len(pages) > 20 and all(anchor for _, parts in pages for anchor, *_ in parts)
    assert not (SITE / "searchindex.js").exists(), "there is one index"


# What readers look for, and where it is: one of these begins the address of one of the first two finds.
SOUGHT = {
    "gpu": ["book/recipes.html#choose-device", "book/21_how-fast.html"],
    "own noise": ["book/recipes.html#take-a-noise-of-your-own"],
    "next symbol": ["book/recipes.html#predict-the-next-symbol"],
    "masked": ["book/recipes.html#fill-in-a-masked-string"],
    "phase diagram": ["book/05_lost-all-at-once.html#the-phase-diagram"],
    "conda": ["book/recipes.html#use-it-in-an-environment-of-your-own"],
    "Figure 6": ["book/equations.html#figures"],
    "unequal rules": ["book/18_uneven-rules.html"],
    "perplexity": ["book/recipes.html#predict-the-next-symbol"],
    "susceptibility": ["book/api.html#hierlib.susceptibility"],
    "Kesten–Stigum": ["book/05_lost-all-at-once.html"],
    "temperature": ["book/03_half-way-and-back.html#what-one-leaf-knows"],
    "cite": ["book/index.html#how-to-cite-it"],
    "resume": ["book/recipes.html#resume-what-was-interrupted"],
    "cluster": ["book/22_run-at-scale.html#on-a-cluster"],
    "belief propagation": ["book/02_belief-propagation.html"],
    "provenance": ["book/index.html#how-to-read-it"],
    "run chapter with other m": ["book/index.html#how-to-run-it"],
    "make run": ["book/index.html#how-to-run-it"],
    "change m": ["book/index.html#how-to-run-it"],
    "speed": ["book/21_how-fast.html"],
    "performance": ["book/21_how-fast.html"],
    "timing": ["book/21_how-fast.html"],
    "save": ["book/recipes.html#keep-a-grammar"],
    "save load grammar": ["book/recipes.html#keep-a-grammar"],
    "pickle": ["book/recipes.html#keep-a-grammar"],
    "out of memory": ["book/recipes.html#take-more-data-than-memory-holds"],
    "why is the class lost at once": ["book/05_lost-all-at-once.html"],
    "F'(1)": ["book/05_lost-all-at-once.html"],
    "contradicted": ["book/ledger.html?verdict=differs"],
    "wrong in the paper": ["book/ledger.html?verdict=differs"],
    "license": ["book/index.html#how-to-cite-it"],
    "windows": ["book/index.html#how-to-run-it"],
}
# What is called so itself comes first of all.
NAMES = {
    "ε": "book/notation.html#symbol-varepsilon",
    "epsilon": "book/notation.html#symbol-varepsilon",
    "what is epsilon": "book/notation.html#symbol-varepsilon",
    "half height": "book/notation.html#term-half-height",
    "mean field": "book/notation.html#term-mean-field",
    "inversion": "book/notation.html#term-inversion",
    "infer": "book/api.html#hierlib.infer",
    "hl.infer": "book/api.html#hierlib.infer",
    "meanfield.solve": "book/api.html#hierlib.theory.meanfield.solve",
}


@pytest.mark.parametrize("place", ["http", "file"])
def test_what_readers_look_for_is_among_the_first_two_finds(browser, site, http, place):
    base = http if place == "http" else site.as_uri()
    missed = {}
    with b.visit(browser, f"{base}/search.html") as seen:
        for words, places in SOUGHT.items():
            seen.page.goto(f"{base}/search.html?q={quote(words)}")
            seen.page.locator("#search-results li").first.wait_for()
            first = [a.get_attribute("href") for a in seen.page.locator("#search-results li > a").all()[:2]]
            if not any(href.startswith(place) for href in first for place in places):
                missed[words] = first
        for words, own in NAMES.items():
            seen.page.goto(f"{base}/search.html?q={quote(words)}")
            hrefs = [a.get_attribute("href") for a in seen.page.locator("#search-results li > a").all()]
            if hrefs[0] != own:
                missed[words] = hrefs[:3]
        seen.page.goto(f"{base}/search.html?q=binder")
        assert seen.page.locator("#search-results").inner_text().startswith("Nothing found"), "infer is no binder"
        assert not seen.complaints
    assert not missed


def test_a_find_leads_to_its_section_and_shows_the_words_around(browser, site):
    with b.visit(browser, f"{site.as_uri()}/search.html?q=kesten+stigum") as seen:
        find = seen.page.locator("#search-results li:has(mark)").first
        assert {"kesten", "stigum"} <= {mark.lower() for mark in find.locator("mark").all_inner_texts()}
        address = find.locator("a").get_attribute("href")
        find.locator("a").click()
        seen.page.wait_for_load_state("load")
        assert seen.page.url.endswith(address)
        if "#" in address:
            assert seen.page.locator(f"[id='{address.partition('#')[2]}']").count() == 1


@pytest.mark.parametrize("words, says", [("<zzzzqqqq>", "Nothing found for “<zzzzqqqq>”."), ("", "")])
def test_searches_that_find_nothing(browser, site, http, words, says):
    with b.visit(browser, f"{http}/search.html?q={quote(words)}") as seen:
        assert seen.page.locator("#search-results").inner_text().strip() == says
        assert not seen.complaints
