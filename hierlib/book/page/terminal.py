"""Commands of the book as a page shows them: run for real, in a folder that goes away."""

import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path


class Terminal:
    """Runs `hierlib …` in a checkout and prints command and answer as one would see them.

    What a command calls ``results/`` lies in a temporary folder under _build, which `close` removes; the same holds
    for the files that it names in `files`.

    Args:
        root: the checkout.
        files: names that stand for files of that folder, besides ``results/``.
    """

    def __init__(self, root: Path, files: tuple[str, ...] = ()):
        (root / "_build").mkdir(exist_ok=True)
        self.root, self._away = root, tempfile.TemporaryDirectory(dir=root / "_build", prefix="terminal-")
        self.folder = Path(self._away.name)
        self.results = self.folder / "results"
        self._names = ("results/", *files)
        self.said: dict[str, tuple[int, str]] = {}  #: exit code and output of each command that has ended

    def start(self, line: str) -> subprocess.Popen:
        """The command as a process that goes on."""
        for name in self._names:
            line = line.replace(name, f"{os.path.relpath(self.folder, self.root)}/{name}")
        env = {k: v for k, v in os.environ.items() if "COLOR" not in k} | {"NO_COLOR": "1", "COLUMNS": "110"}
        command = [sys.executable, "-m", "hierlib.book", *line.split()[1:]]
        return subprocess.Popen(
            command, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
        )

    def run(self, line: str, *, lines: int | None = None) -> str:
        """Runs a command to its end and shows it with what it says, or the first lines of that."""
        process = self.start(line)
        out = process.communicate()[0].replace(f"{self.root}/", "")
        out = out.replace(f"{os.path.relpath(self.folder, self.root)}/", "")
        self.said[line] = (process.returncode, out)
        shown = out if lines is None else "\n".join(out.splitlines()[:lines]) + "\n"
        print(f"{typed(line)}\n{folded(shown)}")
        return out

    def finished(self) -> list[str]:
        """Names of what lies in the results, without what is still being written."""
        return [name for name in os.listdir(self.results) if not name.startswith(".")] if self.results.is_dir() else []

    def close(self) -> None:
        """Removes the folder."""
        self._away.cleanup()


def typed(line: str) -> str:
    """A command as it may be typed, an option never parted from its values.

    >>> print(typed("hierlib sweep a " + "-p some_name some_value " * 4 + "--jobs 1"))
    $ hierlib sweep a -p some_name some_value -p some_name some_value \\
        -p some_name some_value -p some_name some_value --jobs 1
    """
    units = " ".join(unit.replace(" ", "\xa0") for unit in re.split(" (?=-)", line))
    lines = textwrap.fill(units, 78, initial_indent="$ ", subsequent_indent="    ", break_on_hyphens=False)
    return lines.replace("\n", " \\\n").replace("\xa0", " ")


def folded(text: str) -> str:
    """Long lines broken, as a terminal does."""
    return "\n".join(textwrap.fill(x, 80, break_on_hyphens=False) if len(x) > 80 else x for x in text.splitlines())
