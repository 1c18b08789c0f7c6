"""What the whole suite shares: one thread a process, and a last line that tells what was not tested."""

import ast
import functools
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests' arrays are small; before torch is imported

import pytest
import torch

from hierlib import inference

if not torch.cuda.is_available():  # then the GPU kernels run in Triton's interpreter; before they are imported
    os.environ["TRITON_INTERPRET"] = "1"
    inference.DEVICES["gpu"] = "cpu"

from . import browser as b

_not_tested: set[str] = set()
# What `make check` leaves out, as it takes minutes or needs the site: tests that import one of these.
_OF_THE_BOOK = ("hierlib.book", "tests.axe", "tests.browser", "tests.laboratory", "tests.sweeps", "tests.tiny")


def imported(text: str) -> set[str]:
    """The modules that a file of the tests imports, wherever it does, and the names that it takes of them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = ".".join(filter(None, ["tests" if node.level else "", node.module]))
            found |= {home, *(f"{home}.{each.name}" for each in node.names)}
    return found


@functools.cache
def of_the_book(path: Path) -> bool:
    names = imported(path.read_text("utf-8"))
    return path.is_relative_to(b.ROOT / "hierlib" / "book") or any(name.startswith(_OF_THE_BOOK) for name in names)


def pytest_ignore_collect(collection_path, config):
    """Where tests of the book are not asked for, nothing of it is imported: that takes longer than many tests."""
    if "not book" in config.option.markexpr and collection_path.suffix == ".py":
        return of_the_book(collection_path) or None


def pytest_collection_modifyitems(items):
    for item in items:
        if of_the_book(item.path):
            item.add_marker("book")


def pytest_runtest_logreport(report):
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason.lower().startswith("not tested"):
            _not_tested.add(reason)


def pytest_unconfigure(config):
    for reason in sorted(_not_tested):
        print(reason[0].upper() + reason[1:])


@pytest.fixture(autouse=True)
def style():
    """No test leaves its figures, or their style as a chapter's `book.setup` sets it, to the next one."""
    import matplotlib

    with matplotlib.rc_context():
        yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="module")
def browser():
    with b.chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def engine(browser, tmp_path_factory):
    """Runs a script in a page that has loaded the engine from a file."""
    from . import engine

    yield from engine.opened(browser.new_page(), tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def site(browser):
    """The built site; refuses one that is not made of what is in the checkout now."""
    from hierlib.book.site import sphinxext

    noted = b.SITE / sphinxext.SOURCES
    if not noted.exists():
        pytest.fail("there is no site in _build/html: run `make book` first")
    was, now = json.loads(noted.read_text()), sphinxext.sources(b.ROOT)
    changed = sorted(k for k in was.keys() | now.keys() if was.get(k) != now.get(k))
    if changed:
        pytest.fail(f"the site is older than {', '.join(changed[:3])} (of {len(changed)}): run `make book` first")
    return b.SITE


@pytest.fixture(scope="module")
def http(site):
    with b.serve(site) as address:
        yield address


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A tiny checkout with a chapter and quantities; sweeps of it run in this process."""
    from hierlib.book.runs import sweep as sweeping

    from . import sweeps, tiny

    root = sweeps.make(tmp_path / "checkout", **{"01_light": tiny.page("Light", "import numpy as np", sweeps.LIGHT)})
    monkeypatch.chdir(root)
    monkeypatch.setattr(sweeping, "processes", sweeps.here)
    return root


@pytest.fixture
def call(capsys):
    """The command line in this process: exit code and what it prints."""

    from hierlib.book.cli import app

    def call(*words):
        with pytest.raises(SystemExit) as end:
            app(words)
        out = capsys.readouterr()
        return end.value.code, out.out + out.err

    return call
