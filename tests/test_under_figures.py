"""What stands under a figure: the run that made it, its data, and a command that runs it again."""

import json
import shlex

import pytest
from bs4 import BeautifulSoup

from hierlib.book.runs.run import prepare
from hierlib.book.runs.sweep import execute_all
from hierlib.book.site import under_figures
from hierlib.book.site.build import build_site
from tests import tiny

PROSE = """\
```{figure} dot.svg
:name: fig-numbers
:alt: A dot.

A caption.
```

```{figure} dot.svg
:name: fig-other
:alt: The same dot.

Another.
```
"""
DOT = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle cx="4" cy="4" r="4"/></svg>'
PLAIN = "# No chapter\n\n```{figure} dot.svg\n:alt: A dot.\n\nNothing has run for it.\n```\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a site with two figures of a chapter and one of a page without code."""
    more = 'book.save("numbers-of-others", {"a": 1})\nprint("fig-numbers")'
    pages = {"01_one": tiny.page("One", *tiny.ONE[:-1], more, tiny.ONE[-1], prose=PROSE), "plain": PLAIN}
    root = tiny.make(tmp_path_factory.mktemp("figures"), **pages)
    (root / "book" / "dot.svg").write_text(DOT)
    config = root / "_config.yml"
    config.write_text(
        config.read_text().replace("sphinx: {", "sphinx: {extra_extensions: [hierlib.book.site.sphinxext], ")
    )
    done = execute_all([prepare(tiny.get(root))], 1)
    assert build_site(root, done)
    return root / "_build" / "html"


def soup(site, name):
    return BeautifulSoup((site / "book" / name).read_text("utf-8"), "html.parser")


def test_every_figure_of_a_chapter_tells_its_run(site):
    first, second = soup(site, "01_one.html").select("figure")
    for figure in (first, second):
        how = figure.select_one("figcaption details.hier-how")
        assert how.summary.get_text() == "How this figure was made" and not how.has_attr("open")
        terms = {dt.get_text(): dt.find_next("dd").get_text() for dt in how.select("dt")}
        assert terms["Cell" if figure is first else "Chapter"].startswith(
            "6 of one, at commit " if figure is first else "one, at commit "
        )
        assert terms["Parameters"] == "v = 4, s = 2, m = 2, eps = 0.5, profile = quick, seed = 0"
        assert " UTC, " in terms["Run"] and "CPU" in terms["Run"]
        command = how.select_one("div.highlight pre").get_text().strip()
        assert shlex.split(command) == ["make", "run", "CH=one", "P=v=4 s=2 m=2 eps=0.5 profile=quick seed=0"]
    links = [[a["href"] for a in figure.select("a[download]")] for figure in (first, second)]
    assert links[0] == ["../data/one/numbers.json"], "the file with the figure's name"
    assert links[1] == ["../data/one/numbers-of-others.json", "../data/one/numbers.json"], "or all of the page"
    for link in links[1]:
        assert json.loads((site / "book" / link).read_text("utf-8"))["parameters"]["m"] == 2


def test_every_cell_is_on_the_page_of_code_and_the_figure_leads_to_its_own(site):
    code = BeautifulSoup((site / "code" / "one.html").read_text("utf-8"), "html.parser")
    cells = {cell["id"]: cell.select_one("pre").get_text().strip() for cell in code.select("section[id^=cell-]")}
    assert list(cells) == [f"cell-{n}" for n in range(1, 8)] and cells["cell-7"] == "book.stamp()"
    assert code.select_one("#cell-1 .cell-where").get_text() == "on the page: its parameters"
    link = soup(site, "01_one.html").select_one("figure dd a")
    assert link["href"] == "../code/one.html#cell-6" and "fig-numbers" in cells["cell-6"]
    assert not (site / "code" / "plain.html").exists()


def test_a_page_without_a_run_tells_nothing(site):
    assert soup(site, "plain.html").figure and not soup(site, "plain.html").select(".hier-how")
    assert [p.name for p in (site / "data").iterdir()] == ["one"]


def test_no_place_of_this_machine_is_told(site):
    for how in soup(site, "01_one.html").select(".hier-how"):
        assert str(site.parents[1]) not in str(how)


def test_the_command_leaves_out_what_a_shell_would_change():
    facts = {"chapter": "x", "parameters": {"a": 1, "b": "two words", "c": "$HOME", "d": "", "e": "1:3"}}
    assert under_figures.command(facts) == """make run CH=x P="a=1 b='two words' d='' e=1:3\""""
    assert under_figures.command({"chapter": "x", "parameters": {}}) == "make run CH=x"
