"""What holds for every file: public names are typed and explained, tests are named like modules, files are short."""

import ast
import fnmatch
import itertools
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HIDDEN = 150  # lines of code of a chapter that its page does not show, or folds
LINES = 400
PREFIXED = {"networks", "images", "text", "book.figures"}  # their modules have names that others have, too
# Tests of more than one module, or of none: what they are about.
TOPICS = {
    *(
        "api_page",
        "batches",
        "benchmarks_gpu",
        "check",
        "contributing",
        "device_parameter",
        "environment",
        "gpu_static",
        "house",
        "import",
        "makefile",
        "pretend_cuda",
        "readme",
        "rooms",
        "wheel",
    ),
    *("chapters", "claims_file", "derivations", "derivations_down", "equations", "full", "imagenet_page", "palette"),
    *(
        "engine",
        "engine_weights",
        "engine_worker",
        "live_images",
        "live_maps",
        "live_datum",
        "live_phases",
        "live_strings",
        "live_site",
        "live_trees",
        "own_noise",
        "recipes",
        "shipped",
        "sources",
        "offsets",
        "workflows",
    ),
    *("ends", "fuzz", "fuzz_data", "fuzz_folders", "fuzz_paths", "images_chapters", "references", "sweep_results"),
    *("weights_everywhere", "weights_theory"),
}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((ROOT / "hierlib").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def public(tree: ast.AST, above: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Classes and functions whose names, and those of the classes that they are in, do not begin with _."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If | ast.Try):
            yield from public(node, above)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{above}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{above}{node.name}.")


def untyped(function: ast.FunctionDef, of_class: bool) -> list[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args]
    if of_class and not any(ast.unparse(each) == "staticmethod" for each in function.decorator_list):
        named = named[1:]
    named += [*arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
    return [each.arg for each in named if each.annotation is None] + (
        ["what it returns"] if not function.returns else []
    )


def all_public(but: str = "") -> Iterator[tuple[str, str, ast.FunctionDef | ast.ClassDef]]:
    for module, path in modules().items():
        if not fnmatch.fnmatchcase(module, but):
            for name, node in public(ast.parse(path.read_text("utf-8"))):
                yield module, name, node


def test_public_functions_are_typed():
    bad = {
        f"{module}.{name}": missing
        for module, name, node in all_public()
        if isinstance(node, ast.FunctionDef) and (missing := untyped(node, "." in name))
    }
    assert bad == {}


def test_mypy_looks_at_all_of_the_library():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"]
    assert options["packages"] == ["hierlib"] and options["disallow_untyped_defs"]
    assert [name for each in options["overrides"] for name in each["module"] if name.startswith("hierlib")] == []


def test_public_names_are_explained():
    names = {f"{module}.{name}": ast.get_docstring(node) for module, name, node in all_public(but="hierlib._kernels.*")}
    assert len(names) > 600
    assert [name for name, said in names.items() if not said] == []


@pytest.mark.parametrize(
    "code, missing",
    [
        ("def f(a: int, *b: int, c: int, **d: int) -> None: ...", []),
        ("def f(a, *b, c, **d): ...", ["a", "c", "b", "d", "what it returns"]),
        ("class C:\n    def f(self, a) -> None: ...", ["a"]),
        ("class C:\n    @staticmethod\n    def f(a) -> None: ...", ["a"]),
        ("if True:\n    def f(a) -> None: ...", ["a"]),
    ],
)
def test_what_is_not_typed_is_found(code, missing):
    name, node = [*public(ast.parse(code))][-1]
    assert untyped(node, "." in name) == missing


def topic(module: str) -> str:
    """The name of a module's tests."""
    room, _, name = module.removeprefix("hierlib.").rpartition(".")
    return f"{room.split('.')[-1]}_{name}" if room in PREFIXED else name.lstrip("_")


def test_tests_are_named_like_what_they_test():
    known = {topic(module) for module in modules()}
    files = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    assert sorted(files - known - TOPICS) == []
    assert sorted(known & TOPICS) == []


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("[0-9]*.md")), ids=lambda path: path.stem)
def test_what_a_chapter_hides_is_short(path):
    """Lines of code that the page does not show, those too that a reader must unfold."""
    cells = re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```", path.read_text("utf-8"), re.S | re.M)
    tagged = [re.match(r":tags: (.*)\n", cell) for cell in cells]
    hidden = [cell for cell, tags in zip(cells, tagged, strict=True) if tags and re.search("remove-|hide-", tags[1])]
    count = sum(bool(line.strip()) and not line.startswith(":tags:") for cell in hidden for line in cell.splitlines())
    assert cells and count <= HIDDEN


def test_no_file_is_long():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "book/_assets/js/*.js"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not tested: how long files are (this is no clone)")
    files = [path for name in listed if (path := ROOT / name).is_file()]
    assert len(files) > 250
    long = {path.name: count for path in files if (count := len(path.read_text("utf-8").splitlines())) > LINES}
    assert long == {}


def test_heads_of_tables_have_words():
    """A head of symbols only is empty to a screen reader, which is told of a formula by its picture."""
    for page in sorted((ROOT / "book").glob("*.md")):
        lines = page.read_text("utf-8").splitlines()
        for head, rule in itertools.pairwise(lines):
            if re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", rule.strip()):
                cells = [re.sub(r"\$[^$]*\$", "", cell) for cell in head.strip().strip("|").split("|")[1:]]
                assert all(re.search(r"\w", cell) for cell in cells), f"{page.name}: {head}"
