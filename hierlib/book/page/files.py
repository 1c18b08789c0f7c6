"""The files that come with the book, found wherever a chapter is run."""

from pathlib import Path

from hierlib._paths import located


def path(text: str) -> Path:
    """A file, a folder or a pattern from the current folder or else from book/, where the runner starts chapters.

    Raises:
        ValueError: there is nothing in either, or two different things.
    """
    return located(text)
