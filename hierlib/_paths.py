"""Paths as people type them: `~` is a home, and what is relative counts from where the command is given."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import typer


def typed(text: str | Path) -> Path:
    """The path that somebody has typed.

    Raises:
        ValueError: it is none, or of a user whom the system does not know.

    >>> typed("~/x") == Path.home() / "x"
    True
    >>> typed("./~/x")
    PosixPath('~/x')
    """
    if isinstance(text, Path):  # a default
        return text
    if not text.strip():
        raise ValueError("expected a path, got nothing; a dot is the folder where you are")
    if "\0" in text:
        raise ValueError(f"expected a path, got {text!r}, with a character that no name can have")
    found = os.path.expanduser(text)
    if found.startswith("~"):
        raise ValueError(f"expected a path, got {text!r}, and no user is called so; ./{text} is a file of that name")
    return Path(found)


def _of_typer(text: str | Path) -> Path:
    try:
        return typed(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


option = partial(typer.Option, parser=_of_typer, metavar="PATH")  #: an option of a command that takes a path
argument = partial(typer.Argument, parser=_of_typer)  #: the same of an argument
