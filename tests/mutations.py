"""Removes each guard of the sweeps and of the runner in turn and shows that its test fails.

    python tests/mutations.py               # all, some minutes
    python tests/mutations.py "full disk"   # those whose name holds this

Works on a copy of the library and the tests; the checkout is not touched.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this is a script, too

from tests.guards import Guard  # noqa: E402
from tests.guards.chains import OF_CHAINS  # noqa: E402
from tests.guards.data import OF_DATA, OF_ENDS, OF_INPUTS  # noqa: E402
from tests.guards.engine import ENGINES  # noqa: E402
from tests.guards.language import LANGUAGES  # noqa: E402
from tests.guards.models import MODELS  # noqa: E402
from tests.guards.numbers import NUMBERS  # noqa: E402
from tests.guards.pictures import PICTURES  # noqa: E402
from tests.guards.results import ROWS  # noqa: E402
from tests.guards.runs import OF_RUNS  # noqa: E402
from tests.guards.sources import OF_SOURCES  # noqa: E402
from tests.guards.verdicts import OF_VERDICTS  # noqa: E402
from tests.guards.weights import UNEVEN  # noqa: E402

GUARDS = [
    *OF_RUNS,
    *OF_DATA,
    *OF_INPUTS,
    *OF_ENDS,
    *OF_SOURCES,
    *OF_VERDICTS,
    *(Guard(*each) for each in (*MODELS, *NUMBERS, *PICTURES, *ROWS, *LANGUAGES, *ENGINES, *OF_CHAINS, *UNEVEN)),
]


def copy(to: Path) -> None:
    """The library, the tests and the book; the rest of the checkout by links."""
    for path in ROOT.iterdir():
        if path.name in ("hierlib", "tests", "book"):
            shutil.copytree(path, to / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.name not in (".git", "_build", "results", "dist", "build") and not path.name.startswith(".venv"):
            (to / path.name).symlink_to(path)


def fails(root: Path, tests: list[str]) -> bool | None:
    """Whether one of the tests fails; None if they could not be run."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    return {0: False, 1: True}.get(done.returncode)


def main(words: list[str]) -> int:
    chosen = [guard for guard in GUARDS if not words or any(word in guard.name for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy(root)
        if fails(root, sorted({guard.test for guard in chosen})) is not False:
            print("with all guards the tests do not pass; see pytest")
            return 2
        bad = 0
        for guard in chosen:
            start, path = time.monotonic(), root / guard.file
            text = path.read_text("utf-8")
            path.write_text(text.replace(guard.old, guard.new), "utf-8")
            noticed = text.count(guard.old) == 1 and fails(root, [guard.test])
            path.write_text(text, "utf-8")
            word = "noticed" if noticed else "NOT NOTICED"
            print(f"{word:11}  {time.monotonic() - start:5.1f} s  {guard.name}  ({guard.test})", flush=True)
            bad += not noticed
    print(f"{len(chosen) - bad} of {len(chosen)} guards have a test that fails without them")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
