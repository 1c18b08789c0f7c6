"""What changes the key of a run, and what does not; nothing is executed here."""

import re
from pathlib import Path

import pytest

from hierlib.book.runs.checkout import chapters, find_checkout
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.key import code_tree, named_files, reachable
from hierlib.book.runs.run import prepare
from tests import tiny


@pytest.fixture
def root(tmp_path):
    return tiny.make(tmp_path)


def key(root, **values) -> str:
    return prepare(tiny.get(root), values).key


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def reached(root) -> set[str]:
    return {p.relative_to(root).as_posix() for p in reachable(code_tree(tiny.get(root)), root)}


@pytest.mark.parametrize(
    "old, new",
    [
        ("Some prose.", "Other prose, and {glue:text}`a number`."),
        ("# One", "# Another title"),
        ("---\n\n# One", "---\n(label)=\n\n# One"),
    ],
)
def test_prose_does_not_count(root, old, new):
    before = key(root)
    edit(root / "book/01_one.md", old, new)
    assert key(root) == before


def test_captions_and_other_pages_do_not_count(root):
    path = root / "book/01_one.md"
    edit(
        path, "book.stamp()", "book.stamp()\n```\n\n```{glue:figure} a\n:name: b\nA caption.\n```\n\n```{code-cell}\n1"
    )
    before = key(root)
    edit(path, "A caption.", "Another caption.")
    (root / "book/index.md").write_text("# Another index\n")
    (root / "book/claims.yaml").write_text("[]\n")
    edit(path, "```{code-cell}\n1", "```{code-cell}\n:tags: [hide-input]\n\n1")
    assert key(root) == before


@pytest.mark.parametrize(
    "name, old, new",
    [
        ("book/01_one.md", "print(", "print(1, "),
        ("book/01_one.md", ":tags: [parameters]", ":tags: [parameters, skip-execution]"),
        ("book/01_one.md", "m: int = 2", "m: int = 3"),
        ("tinylib/near.py", "base.FACTOR * x", "base.FACTOR * x + 1"),
        ("tinylib/base.py", "10", "11"),
        ("tinylib/far.py", "x + 1", "x + 2"),
        ("tinylib/__init__.py", "import importlib", "import importlib, os"),
        ("requirements.lock", "2.13.0", "2.14.0"),
    ],
)
def test_what_counts(root, name, old, new):
    before = key(root)
    edit(root / name, old, new)
    assert key(root) != before


def test_a_module_that_the_chapter_cannot_reach_does_not_count(root):
    before = key(root)
    edit(root / "tinylib/other.py", "True", "False")
    assert key(root) == before


def test_parameters_count_by_their_values(root):
    assert key(root) == key(root, m=2) == key(root, m="2") == key(root, eps=0.5)
    assert len({key(root), key(root, m=3), key(root, eps=0.25), key(root, seed=1)}) == 4


def test_imports_are_followed_across_cells_and_lazily(root):
    assert reached(root) == {f"tinylib/{name}.py" for name in ("__init__", "near", "base", "far")}


@pytest.mark.parametrize(
    "cell",
    [
        "import tinylib.other",
        "from tinylib import other",
        "from tinylib import other as o",
        "from tinylib.other import unused",
        "def f():\n    import tinylib.other",
        "tinylib.other.unused",
        "import tinylib as t\nt.other.unused",
        'import importlib\nimportlib.import_module("tinylib.other")',
        'import importlib\nimportlib.import_module(f"tinylib.{m}")',
        "from tinylib import *",
        "dir(tinylib)",
        'getattr(tinylib, "other")',
        "tinylib.not_in_the_table",
        "%matplotlib inline\nimport tinylib.other",
    ],
)
def test_every_way_to_import(root, cell):
    assert "tinylib/other.py" not in reached(root)
    edit(root / "book/01_one.md", "book.stamp()", cell)
    assert "tinylib/other.py" in reached(root)


def test_files_of_the_book_count_if_the_code_names_them(root):
    models = root / "book" / "_models"
    (models / "runs").mkdir(parents=True)
    for name in ("used.nc", "sizes.yaml", "runs/a.json", "unused.nc", "notes.md"):
        (models / name).write_text("1")
    (root / "book" / "claims.json").write_text("1")
    code = 'load("used.nc"); load("sizes.yaml"); list(Path("_models/runs").glob("*")); open("claims.json"); "notes.md"'
    edit(root / "book/01_one.md", "book.stamp()", code)
    tree = code_tree(tiny.get(root))
    names = {p.name for p in named_files(tree, reachable(tree, root), root)}
    assert names == {"used.nc", "sizes.yaml", "claims.json"}
    before = key(root)
    (models / "unused.nc").write_text("2")
    (models / "notes.md").write_text("2")
    assert key(root) == before
    for name in ("used.nc", "sizes.yaml", "runs/a.json"):
        (models / name).write_text("2")
        assert key(root) != before
        (models / name).write_text("1")


def test_results_of_benchmarks_count_if_the_code_names_them(root):
    results = root / "benchmarks" / "results"
    results.mkdir(parents=True)
    for name in ("cpu.json", "other.json"):
        (results / name).write_text("1")
    edit(root / "book/01_one.md", "book.stamp()", 'results("cpu.json")')
    before = key(root)
    (results / "other.json").write_text("2")
    assert key(root) == before
    (results / "cpu.json").write_text("2")
    assert key(root) != before


def test_files_by_a_pattern_and_beside_a_module(root):
    data = root / "book" / "data"
    data.mkdir()
    (data / "seed-1.nc").write_text("1")
    (root / "tinylib" / "kernel.cpp").write_text("1")
    before = key(root)
    (root / "tinylib" / "kernel.cpp").write_text("2")
    assert key(root) != before
    edit(root / "book/01_one.md", "book.stamp()", 'open(f"data/seed-{seed}.nc")')
    before = key(root)
    (data / "seed-1.nc").write_text("2")
    assert key(root) != before


def test_code_that_is_no_python_names_its_line(root):
    edit(root / "book/01_one.md", "import tinylib\n", "x = (\n")
    line = (root / "book/01_one.md").read_text().splitlines().index("x = (") + 1
    with pytest.raises(BadRequest, match=f"^book/01_one.md:{line}: "):
        key(root)


def test_lines_are_those_of_the_file(root):
    each, text = tiny.get(root), (root / "book/01_one.md").read_text().splitlines()
    for line, (source, _) in zip(each.lines, each.code, strict=True):
        assert text[line - 1] == source.splitlines()[0]


def test_two_parameter_cells(root):
    edit(root / "book/01_one.md", "```{code-cell} ipython3\nimport", "```{code-cell}\n:tags: [parameters]\n\nimport")
    with pytest.raises(BadRequest, match="a second cell is tagged"):
        key(root)


def test_checkout_is_found_from_below(root, tmp_path):
    (root / "book" / "deep").mkdir()
    assert find_checkout(root / "book" / "deep") == root.resolve()


def test_slugs(tmp_path):
    root = tiny.make(tmp_path, **{"02_one": tiny.page("Again")})
    with pytest.raises(BadRequest, match="have one slug, 'one'"):
        chapters(root)


def test_the_books_own_chapters_reach_what_they_import():
    """By another way: every module of the library that a chapter's code names is in its closure."""
    root = find_checkout(Path(__file__).parent)
    for slug, each in chapters(root).items():
        tree = code_tree(each)
        found = {p.relative_to(root).as_posix() for p in reachable(tree, root)}
        text = "\n".join(source for source, _ in each.code)
        named = {
            f"hierlib/{name}.py"
            for name in re.findall(r"\bhl\.(\w+)\.|from hierlib\.(\w+) import", text)
            for name in name
        }
        assert {name for name in named if (root / name).is_file()} <= found, slug
        assert "hierlib/__init__.py" in found and "hierlib/inference.py" in found, slug
        assert ("hierlib/book/page/results.py" in found) == ("book.record(" in text or "book.save(" in text), slug
        assert ("hierlib/book/commands.py" in found) == ("hierlib.book.commands" in text), slug
