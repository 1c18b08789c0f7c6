"""``python -m hierlib.book.site.lint``: ruff on the chapters' code (by itself it reads no Markdown)."""

import re
import subprocess
import sys
from pathlib import Path

from hierlib.book.runs.checkout import Chapter, chapters, find_checkout

_USUAL_IN_NOTEBOOKS = "B018,D,E402,I001"  # a bare last value, imports by cell; the prose says what is done


def lint(chapter: Chapter) -> str:
    """What ruff finds in the code cells, with the lines of the chapter's own file; empty if nothing."""
    lines: list[str] = []
    for first, (source, _) in zip(chapter.lines, chapter.code):
        lines += [""] * (first - 1 - len(lines)) + source.splitlines()
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
    """Prints what ruff finds in all chapters; 1 if there is anything."""
    found = [text for each in chapters(root).values() if (text := lint(each))]
    print("".join(found) or "No findings in the code of the chapters.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(find_checkout()))
