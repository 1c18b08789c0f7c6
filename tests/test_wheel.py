"""The library as its users get it: a wheel, installed outside the checkout."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow  # a wheel is built and installed


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder outside the checkout, and a way to run Python there that sees the wheel and not the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(pip + build, check=True, cwd=folder, capture_output=True)
    (wheel,) = folder.glob("hierlib-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)

    def python(*arguments):
        env = {**os.environ, "PYTHONPATH": str(folder / "site"), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
        return subprocess.run([sys.executable, *arguments], cwd=folder, env=env, text=True, capture_output=True)

    where = python("-c", "import hierlib; print(hierlib.__file__)").stdout.strip()
    assert Path(where).is_relative_to(folder), "this test must not see the checkout"
    return python


def test_the_readmes_library_example_runs(elsewhere):
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)[1]
    done = elsewhere("-c", example)
    assert done.returncode == 0, done.stderr
    assert "class kept" in done.stdout


@pytest.mark.parametrize("words", [["build"], ["list"], ["run", "half-way-and-back"], ["zip"]])
def test_the_books_commands_say_that_they_need_the_checkout(elsewhere, words):
    done = elsewhere("-m", "hierlib.book", *words)
    assert done.returncode == 2
    assert "checkout" in done.stderr and "Traceback" not in done.stderr


def test_help_needs_no_checkout(elsewhere):
    done = elsewhere("-m", "hierlib.book", "run", "--help")
    assert done.returncode == 0 and "--out" in done.stdout
