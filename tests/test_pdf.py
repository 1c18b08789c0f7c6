"""The book as a PDF: what is put together of the pages, and the file that Chromium prints."""

import re
from collections import Counter

import pytest
from bs4 import BeautifulSoup

from hierlib.book.runs.checkout import contents
from hierlib.book.runs.errors import BadRequest
from hierlib.book.site import pdf

from . import browser as b

PAGE = """<html><head><title>{title} — Tiny</title><link rel="stylesheet" href="../_static/a.css">
<script>window.MathJax = {{}}</script><script src="../_static/other.js"></script></head><body>
<article class="bd-article"><section id="top"><h1>{title}<a class="headerlink" href="#top">#</a></h1>{body}</section>
</article><footer><span class="hier-stamp">hierlib 0</span></footer></body></html>"""
ONE = """<p>See <a href="two.html#eq-1">(1)</a>, <a href="two.html">two</a>, <a href="#fig">the figure</a>,
<a href="../genindex.html">the index</a> and <a href="https://example.org/x#y">elsewhere</a>.</p>
<figure id="fig"><div class="live"><div class="live-stage">moves</div><div class="live-still"><svg><clippath id="c"/>
<path clip-path="url(#c)"/><use href="#c"/></svg></div></div><details class="hier-how">key</details></figure>
<details class="above-input">code</details><details class="answer">why</details><img src="../_images/a.png">"""
LONG = "A heading of so many words that they need three lines of a sheet: " + ", ".join(
    f"belief {word} of a level" for word in ("one", "two", "three", "four", "five", "six", "seven")
)
TWO = '<div class="math" id="eq-1">x</div><label for="top">again</label>'


@pytest.fixture
def whole(tmp_path):
    folder = tmp_path / "html" / "book"
    folder.mkdir(parents=True)
    (folder / "one.html").write_text(PAGE.format(title="One", body=ONE))
    (folder / "two.html").write_text(PAGE.format(title="Two", body=TWO))
    return BeautifulSoup(pdf.assemble(folder.parent, ["book/one", "book/two"]), "html.parser")


def test_links_lead_to_places_of_the_whole(whole):
    ids = Counter(tag["id"] for tag in whole.select("[id]"))
    assert set(ids.values()) == {1} and {"one", "two", "one--top", "two--top", "two--eq-1"} <= ids.keys()
    inner = {tag["href"][1:] for tag in whole.select("[href^='#']")}
    assert inner == {"one", "two", "two--eq-1", "one--fig", "one--c"} and inner <= ids.keys()
    assert whole.select_one("path")["clip-path"] == "url(#one--c)" and whole.label["for"] == "two--top"
    assert {tag["href"] for tag in whole.select("[href]")} - {f"#{id}" for id in inner} == {
        *("html/_static/a.css", "https://example.org/x#y")
    }
    assert whole.img["src"] == "html/_images/a.png"
    assert whole.find("a", string="the index").attrs == {}, "the index is not in the PDF"


def test_what_is_for_the_screen_stays_there(whole):
    text = whole.get_text()
    for word in ("moves", "key", "code", "#", "other.js"):
        assert word not in text
    assert "why" in text and whole.select_one("details.answer").has_attr("open")
    assert whole.select_one(".live-still svg") and "window.MathJax" in str(whole.head)
    assert [a.get_text() for a in whole.select("nav a")] == ["One", "Two"]


def test_the_order_is_that_of_the_contents():
    names = contents(b.ROOT)
    assert names[0] == "book/index" and len(set(names)) == len(names) > 15
    assert names.index("book/01_data-made-of-parts") < names.index("book/api")


def test_without_a_site_or_a_browser_it_says_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(BadRequest, match="make book"):
        pdf.make_pdf(tmp_path, tmp_path / "book.pdf")
    folder = tmp_path / "_build" / "html"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(PAGE.format(title="One", body=""))
    (tmp_path / "_toc.yml").write_text("root: index\n")
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "none"))
    with pytest.raises(BadRequest, match="apt install chromium"):
        pdf.make_pdf(tmp_path, tmp_path / "book.pdf")
    assert not (tmp_path / "book.pdf").exists()


def bookmarks(data: bytes) -> list[str]:
    """The words of a PDF's outline, sorted: the file has children before their parents."""
    found = []
    for text in re.findall(rb"<</Title (\((?:\\.|[^\\)])*\)|<[0-9A-Fa-f]+>)\s*/Dest", data):
        if text.startswith(b"<"):
            raw = bytes.fromhex(text[1:-1].decode())
        else:
            raw = re.sub(
                rb"\\([0-7]{3}|.)", lambda m: bytes([int(m[1], 8)]) if m[1].isdigit() else m[1], text[1:-1], flags=re.S
            )
        found.append(raw.decode("utf-16" if raw.startswith(b"\xfe\xff") else "latin-1"))
    return sorted(found)


def headings(whole: str) -> list[str]:
    return [" ".join(tag.get_text().split()) for tag in BeautifulSoup(whole, "html.parser").select("h1, h2, h3, h4")]


def test_a_bookmark_keeps_its_spaces_where_the_heading_wraps(tmp_path):
    with b.chromium():
        pass  # or the test is skipped
    folder = tmp_path / "_build" / "html"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(PAGE.format(title=LONG, body=f"<section><h2>Of {LONG} (P ≠ 1)</h2></section>"))
    (tmp_path / "_toc.yml").write_text("root: index\n")
    data = pdf.make_pdf(tmp_path, tmp_path / "book.pdf").read_bytes()
    assert bookmarks(data) == [LONG, "Contents", f"Of {LONG} (P ≠ 1)"]


@pytest.mark.timeout(900)
def test_the_book_prints_with_every_figure_font_and_chapter(tmp_path):
    with b.chromium():
        pass  # or the test is skipped
    if not (b.SITE / "index.html").exists():
        pytest.fail("there is no site in _build/html: run `make book` first")
    data = pdf.make_pdf(b.ROOT, tmp_path / "book.pdf").read_bytes()
    assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF")
    start = int(re.search(rb"startxref\s+(\d+)\s+%%EOF\s*$", data)[1])
    assert data[start:].lstrip().startswith(b"xref"), "the table of its objects is where the file says"
    whole = (b.ROOT / "_build" / "book.html").read_text("utf-8")
    figures = len(re.findall(r'<svg[^>]*class="hier-figure"', whole))
    assert len(re.findall(rb"/Alt\b", data)) == figures > 50, "every figure is there, with its text"
    assert len(re.findall(rb"/Type\s*/Page\b", data)) > 80
    fonts = {name.decode() for name in re.findall(rb"/(?:BaseFont|FontName)\s*/[A-Z]{6}\+([\w-]+)", data)}
    for wanted in ("SourceSerif4", "SourceSans3", "MathJax_Math", "MathJax_Main"):
        assert any(name.startswith(wanted) for name in fonts), f"{wanted} is not in {sorted(fonts)}"
    assert bookmarks(data) == sorted(headings(whole))
    titles = BeautifulSoup(whole, "html.parser").select("nav.book-contents a")
    assert len(titles) == len(contents(b.ROOT)) and data.count(b"/Dest") >= len(titles)
