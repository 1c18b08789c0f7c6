"""What a chapter's file may say, and what is said of one that cannot be read: file, line, and what to write."""

import nbformat
import pytest

from hierlib import _yaml
from hierlib.book.runs import source
from hierlib.book.runs.checkout import chapter, chapters
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.run import execute, prepare
from hierlib.book.runs.sweep import execute_all
from hierlib.book.site import lint
from hierlib.book.site.build import build_site
from tests import tiny
from tests.test_run import outputs

QUIET = "x: int = 1  # a number\n"
SHOW = "print('of', x)"
KERNEL = "kernelspec: {display_name: Python 3, language: python, name: python3}"
FENCE = "```{code-cell} ipython3\n"


def small(*cells, header="", title="A page"):
    text = tiny.page(title, *(cells or (SHOW,)), parameters=QUIET)
    return text.replace("kernelspec:", f"{header}kernelspec:", 1)


BAD_HEADERS = {
    "title: [a, b\n": ("bad.md:4: expected YAML, got something else", "write `name: value`, one a line"),
    "what: yes: no\n": ("bad.md:3: expected YAML", "text with a colon or another mark of YAML in quotes"),
    "when: !!set {a}\n": ("bad.md:3: expected YAML", "set"),
    "a: \x02\n": ("bad.md:3: expected YAML", "x02"),
    "a: &a [*a]\n": ("bad.md:2: expected YAML", "ircular"),
}


@pytest.mark.parametrize("header", BAD_HEADERS)
def test_a_header_that_is_no_yaml_is_named_with_its_line(tmp_path, header):
    root = tiny.make(tmp_path, bad=small(header=header))
    for ask in (lambda: chapter(root, "bad"), lambda: chapters(root)):
        with pytest.raises(BadRequest) as error:
            ask()
        assert all(part in str(error.value) for part in ("book/", *BAD_HEADERS[header])), error.value
    assert chapter(root, "one").parameters["m"].default == 2, "others are not read"
    with pytest.raises(BadRequest, match="there is no chapter 'on'; the chapters are:\n  one\n  bad"):
        chapter(root, "on")


TAGS = ":tags: [parameters]"
CELL = "expected a cell that can be read, got: "
BAD_CELLS = [  # what stands there in a good file, what else, the line, the words
    (tiny.HEAD.splitlines()[1], "jupytext: [md]", 2, r"expected names and values below jupytext, got \['md'\]"),
    ("{extension: .md, format_name: myst}", "myst", 2, "expected names and values below text_representation, got 'm"),
    (KERNEL, "kernelspec: python3", 3, "expected names and values below kernelspec, got 'python3'"),
    (tiny.HEAD, "---\n- jupytext\n---\n", 2, r"expected a header of names and values, got \['jupytext'\]"),
    ("# A page", "# A p\udce4ge", 6, "expected UTF-8, got another encoding; save it as UTF-8"),
    (TAGS, ":tags: parameters", 9, r"expected a list of words for tags, got 'parameters'; write `:tags: \["),
    (TAGS, ":tags: [parameters, 1]", 9, "expected a list of words for tags, got 1; write `"),
    (TAGS, ":tags: [parameters", 8, CELL),
    (FENCE + SHOW, FENCE + ":made: 2026-11-29\n\n" + SHOW, 17, "expected words and numbers for made, got .*; write it"),
    (FENCE + SHOW, FENCE + "---\nmade: .nan\n---\n" + SHOW, 18, "expected words and numbers for made, got nan"),
    (FENCE + SHOW, FENCE + ":load: none.py\n" + SHOW, 16, f"{CELL}Can't read file"),
    (FENCE + SHOW, FENCE + ":tags: [raises-exception]\n\n" + SHOW, 17, "expected a cell that runs to its end, .*catch"),
    (FENCE + SHOW, FENCE + ":raises-exception: true\n" + SHOW, 17, "expected a cell that runs to its end, .*catch"),
]


@pytest.mark.parametrize("old, new, line, why", BAD_CELLS)
def test_a_chapter_that_cannot_be_read_is_named_with_its_line(tmp_path, capsys, old, new, line, why):
    text = small()
    assert text.count(old) == 1
    root = tiny.make(tmp_path, **{"02_bad": ""})
    (root / "book" / "02_bad.md").write_bytes(text.replace(old, new).encode("utf-8", "surrogateescape"))
    with pytest.raises(BadRequest, match=rf"^book/02_bad\.md:{line}: {why}"):
        _ = chapter(root, "bad").parameters
    assert lint.main(root) == 2 and f"book/02_bad.md:{line}: " in capsys.readouterr().out


COMMANDS = {
    "list": (["list"], 2),
    "build": (["build"], 2),
    "build the other": (["build", "--only", "bad"], 2),
    "run": (["run", "bad"], 2),
    "sweep": (["sweep", "bad", "-p", "x", "1,2"], 2),
    "run another": (["run", "light", "-p", "x", "3"], 0),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_where_and_others_are_untouched(tmp_path, name):
    root = tiny.make(tmp_path, bad=small(header="title: [a\n"), light=small())
    code, out = tiny.finish(tiny.hierlib(root, *COMMANDS[name][0]))
    assert code == COMMANDS[name][1], out
    assert "Traceback" not in out and (code == 0 or "book/bad.md:4: expected YAML" in out), out


@pytest.mark.parametrize(
    "name, text, why",
    [
        ("_toc.yml", "root: [\n", r"^_toc\.yml:1: expected YAML"),
        ("_toc.yml", "root: book/index\nchapters:\n- file: 3\n", r"^_toc\.yml: expected names of files, got 3; write"),
    ],
)
def test_contents_that_cannot_be_read(tmp_path, name, text, why):
    root = tiny.make(tmp_path)
    (root / name).write_text(text)
    for ask in (chapters, lambda root: chapter(root, "one")):
        with pytest.raises(BadRequest, match=why):
            ask(root)


def test_claims_that_cannot_be_read(tmp_path):
    from hierlib.book.page.results import claims

    root = tiny.make(tmp_path)
    for text, why in (("- {id: a\n", ":1: expected YAML"), ("", ".*a list of rows, each with an id"), ("- a", ".*id")):
        (root / "book" / "claims.yaml").write_text(text)
        with pytest.raises(_yaml.NotYaml, match=f"^book/claims.yaml{why}"):
            claims(root)


WRITTEN = {
    "date: 2026-11-29": {"date": "2026-11-29"},
    "at: 2026-11-29 10:00:00": {"at": "2026-11-29 10:00:00"},
    "never: 2026-13-45": {"never": "2026-13-45"},
    "a: &d 2026-11-29\nb: [*d, 1.5, yes]": {"a": "2026-11-29", "b": ["2026-11-29", 1.5, True]},
    "limit: .inf": {"limit": ".inf"},
    "logo: !!binary aGk=": {"logo": "aGk="},
    "stamped: !!timestamp 'noon'": {"stamped": "noon"},
}


@pytest.mark.parametrize("header", WRITTEN)
def test_what_json_has_no_word_for_is_the_text_that_is_written(header):
    text = f"---\n{header}\n---\n\n# Title\n"
    found = source.plain(text, "a.md")
    body = found.split("---\n")[1]
    assert _yaml.load(header, "a.md") == WRITTEN[header] == __import__("yaml").safe_load(body)
    assert found.splitlines()[-1] == "# Title" and found.count("\n") == text.count("\n"), "lines keep their numbers"


@pytest.mark.parametrize(
    "text", ["", "# Title\n", "---\n---\n", "---\ntitle: 'a: b'\nn: 1\n---\n# T\n", "---\n\nno end\n"]
)
def test_any_other_page_stays_as_it_is(text):
    assert source.plain(text, "a.md") == text


@pytest.mark.parametrize("start, end", [("\ufeff", "\n"), ("", "\r\n"), ("\ufeff", "\r\n")])
def test_what_editors_of_windows_write_is_a_chapter_all_the_same(tmp_path, start, end):
    root = tiny.make(tmp_path)
    path = root / "book" / "01_one.md"
    before = chapter(root, "one").code
    path.write_bytes((start + path.read_text()).replace("\n", end).encode())
    assert list(chapters(root)) == ["one"] and chapter(root, "one").code == before


@pytest.mark.slow
def test_equal_code_dates_and_braces_reach_the_site(tmp_path):
    """Two chapters of equal code that find other things, one with a date in its header, in an oddly named folder."""
    read = (
        "from pathlib import Path\nn = int(Path('number').read_text())\nPath('number').write_text(str(n + 1))\n"
        "print('number', n)"
    )
    pages = {"02_two": small(read, header="date: 2026-11-29\n"), "03_three": small(read, title="Another page")}
    root = tiny.make(tmp_path / "a {b} {0} {pm} [c] %d #e 'f' ?g é", **pages)
    (root / "book" / "number").write_text("5")
    done = execute_all([prepare(tiny.get(root, slug)) for slug in ("one", "two", "three")], workers=1)
    assert [each.error for each in done] == [None] * 3
    found = {each.job.target.slug: outputs(each.notebook) for each in done}
    assert {found["two"], found["three"]} == {"number 5\n", "number 6\n"}
    assert build_site(root, done)
    html = root / "_build" / "html" / "book"
    for slug, page in (("two", "02_two.html"), ("three", "03_three.html")):
        assert found[slug].strip() in (html / page).read_text()
    kept = nbformat.read(next(e.notebook for e in done if e.job.target.slug == "two"), as_version=4)
    assert kept.metadata["date"] == "2026-11-29"
    assert [p.name for p in tmp_path.iterdir()] == [root.name], "and nothing is left beside it"


def test_the_path_of_a_run_is_no_pattern(tmp_path):
    """papermill formats the name of what it writes with the parameters."""
    root = tiny.make(tmp_path, light=small())
    done = execute(prepare(chapter(root, "light"), {"x": 4}, tmp_path / "of {x} {y} {{z}}"))
    assert done.error is None and outputs(tmp_path / "of {x} {y} {{z}}" / "light.ipynb") == "of 4\n"
