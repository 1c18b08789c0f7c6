"""The index of the site's search, and that fifteen things which readers look for are among the first that it finds."""

import json
import re

from docutils import nodes
from docutils.core import publish_doctree

from hierlib.book.site.search import TEXTS, entries, readable

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
    assert page == ("a-page", "A page", "Its own words, over two lines.")
    assert part == ("a-part", "A part", "Text of the part:")


def test_formulas_become_words():
    text = nodes.paragraph(
        "", "", nodes.Text("below "), nodes.math("", r"m_c = \frac{v^{s-1}}{F'(1)}"), nodes.Text(".")
    )
    doctree = nodes.section("", nodes.title("", "t"), text, ids=["t"])
    assert entries(doctree)[0].text == "below m_c = v^s-1F'(1)."
    assert readable(r"\varepsilon \to \Lambda, \mathrm{d}\ln t") == "ε → Λ, d ln t"


def test_the_texts_are_small_and_a_script():
    text = (SITE / "_static" / TEXTS).read_text("utf-8")
    assert len(text.encode()) <= 400_000
    pages = json.loads(re.fullmatch(r"const searchTexts = (.*);\n", text, re.S)[1])
    assert len(pages) > 20 and all(title and anchor for _, parts in pages for anchor, title, _ in parts)
    assert not (SITE / "searchindex.js").exists(), "there is one index"
