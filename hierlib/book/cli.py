"""The command `hierlib`: build the book, run one chapter, list what chapters take, pack the site."""

import sys
from collections.abc import Sequence

from hierlib._locks import LeftLock, hdf5_needs_none
from hierlib._yaml import NotYaml
from hierlib.book.runs.errors import BadRequest


def app(argv: Sequence[str] | None = None) -> None:
    """Entry point. Exit code 2: what was asked for is refused; 1: it was tried and failed."""
    if sys.platform == "win32":
        print("hierlib: the book's commands run on Linux and macOS; on Windows use WSL", file=sys.stderr)
        sys.exit(2)
    hdf5_needs_none()
    try:
        from hierlib.book.commands import commands
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hierlib"):
            raise
        print(
            f"hierlib: the commands of the book need {error.name}, which is not installed.\n"
            "They work in a checkout of the book, not from the library alone: git clone its repository, `make book`.",
            file=sys.stderr,
        )
        sys.exit(2)
    try:
        commands(args=joined(sys.argv[1:] if argv is None else argv), prog_name="hierlib")
    except (BadRequest, LeftLock, NotYaml) as error:
        print(f"hierlib: {error}", file=sys.stderr)
        sys.exit(2)


def joined(argv: Sequence[str]) -> list[str]:
    """``-p m 4`` as ``-p m=4``: an option of the command line has one value."""
    words, out = list(argv), []
    while words:
        word = words.pop(0)
        out.append(word)
        if word in ("-p", "--parameter") and words:
            name = words.pop(0)
            out.append(name if "=" in name or not words else f"{name}={words.pop(0)}")
    return out
