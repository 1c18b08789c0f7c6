"""What `make check` runs: the tests of the library, all of them but the slow ones, and none that needs the book."""

import tomllib
from pathlib import Path

import pytest

from .conftest import imported, of_the_book
from .mutations import GUARDS

ROOT = Path(__file__).parents[1]
ROOMS = ("_kernels", "theory", "experiments", "networks", "images")


@pytest.mark.parametrize(
    "code, there",
    [
        ("import hierlib.book.cli", True),
        ("from hierlib import book", True),
        ("from hierlib.book.site import pdf", True),
        ("from . import browser as b", True),
        ("from .browser import SITE", True),
        ("from tests import tiny", True),
        ("def test_it():\n    from tests.sweeps import make", True),
        ("from hierlib import infer\nfrom .grammars import mixed", False),
        ('"hierlib.book"', False),
    ],
)
def test_a_file_is_of_the_book_if_it_imports_it(code, there, tmp_path):
    (tmp_path / "test_it.py").write_text(code)
    assert of_the_book(tmp_path / "test_it.py") == there


def test_every_room_of_the_library_is_tested_without_the_book():
    files = [path for path in (ROOT / "tests").glob("test_*.py") if not of_the_book(path)]
    names = set().union(*(imported(path.read_text("utf-8")) for path in files))
    rooms = {room for room in ROOMS if any(name.startswith(f"hierlib.{room}") for name in names)}
    assert rooms == set(ROOMS)


def test_make_check_leaves_out_what_is_marked_and_no_more():
    marked = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]["markers"]
    assert {line.partition(":")[0] for line in marked} == {"book", "slow"}
    [line] = [line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if "pytest -m" in line]
    assert "pytest -m 'not book and not slow' --ignore=hierlib/book " in line  # whose doctests are of the book, too


def test_what_a_guard_takes_away_is_there_once():
    """Or `tests/mutations.py` would say that no test notices, and take a whole run to do so."""
    places = {guard.name: (ROOT / guard.file).read_text("utf-8").count(guard.old) for guard in GUARDS}
    assert {name: count for name, count in places.items() if count != 1} == {}
