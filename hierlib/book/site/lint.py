"""``python -m hierlib.book.site.lint``: ruff on the chapters' code (by itself it reads no Markdown)."""

import re
import subprocess
import sys
from pathlib import Path

from hierlib.book.runs import source
from hierlib.book.runs.checkout import Chapter, find_checkout, in_contents
from hierlib.book.runs.errors import BadRequest

_USUAL_IN_NOTEBOOKS = "B018,D,E402,I001"  # a bare last value, imports by cell; the prose says what is done


def lint(chapter: Chapter) -> str:
    """What ruff finds in the code cells, with the lines of the chapter's own file; empty if nothing."""
    lines: list[str] = []
    for first, (code, _) in zip(chapter.lines, chapter.code):
        lines += [""] * (first - 1 - len(lines)) + code.splitlines()
    name = chapter.path.relative_to(chapter.root)
    words = ["ruff", "check", "--output-format", "concise", "--quiet", "--extend-ignore", _USUAL_IN_NOTEBOOKS]
    done = subprocess.run(
        [sys.executable, "-m", *words, "--stdin-filename", str(name.with_suffix(".py")), "-"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        cwd=chapter.root,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"ruff failed on {name}: {done.stderr}")
    return re.sub(r"^[^\n:]*\.py:", f"{name.as_posix()}:", done.stdout, flags=re.M)


def main(root: Path) -> int:
    """Prints what ruff finds in all chapters; 1 if there is anything, 2 if a file cannot be read as a chapter."""
    found, refused = [], []
    for path in in_contents(root):
        try:
            if source.is_notebook(path, root):
                found.append(lint(Chapter(path.stem, path, root)))
        except BadRequest as error:
            refused.append(f"{error}\n")
    print("".join([*found, *refused]) or "No findings in the code of the chapters.")
    return 2 if refused else int(any(found))


def _start() -> int:
    try:
        return main(find_checkout())
    except BadRequest as error:  # of _toc.yml
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(_start())
