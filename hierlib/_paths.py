"""Paths as people type them: `~` is a home, and what is relative counts from where they stand.

The chapters run in book/ and name their own files from there; `located` finds these from any folder of the checkout,
so that a chapter may also be run by hand.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Nothing(ValueError):
    """There is nothing where a path leads to."""


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
    found = os.path.expanduser(text)
    try:
        os.lstat(found)
    except ValueError:
        raise ValueError(f"expected a path, got {text!r}, with a character that no name can have") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ValueError(
                f"expected a path, got {text[:40]!r}… of {len(text)} characters: a name is too long"
            ) from None
    if found.startswith("~"):
        raise ValueError(f"expected a path, got {text!r}, and no user is called so; ./{text} is a file of that name")
    return Path(found)


def there(path: Path) -> bool:
    """Whether there is something at a path or, if it is a pattern, something that fits."""
    try:
        return os.path.lexists(path) or (glob.has_magic(str(path)) and bool(glob.glob(str(path))))
    except (OSError, ValueError, re.error):
        return False  # a name that is too long, say


def located(text: str) -> Path:
    """A file, a folder or a pattern that a chapter names: from the current folder or else from book/ of the checkout.

    Raises:
        Nothing: it is in neither.
        ValueError: it is in both, and not the same; or it is no path.
    """
    path = typed(text)
    if path.is_absolute():
        places = [path]
    else:
        here = Path.cwd()
        books = [folder / "book" for folder in (here, *here.parents) if (folder / "_toc.yml").is_file()][:1]
        places = [here / path, *(book / path for book in books if book != here)]
    found = [place for place in places if there(place)]
    if not found:
        raise Nothing(
            f"{text}: expected a file or a folder, got nothing at {' nor at '.join(map(str, places))}; relative paths "
            "count from the current folder, those of a chapter also from book/"
        )
    if len(found) > 1 and found[0].resolve() != found[1].resolve():
        raise ValueError(f"{text}: expected one place, got {found[0]} and {found[1]}; write out the one that is meant")
    return path if found[0] == places[0] else found[0]


def each_word(text: str, place: Callable[[str], Any]) -> str:
    """A text that is one path or pattern, or several words FILE, NAME=FILE, NAME=download, NAME=random, with its paths
    put in place.

    Args:
        place: gives for a path as it was typed what is to stand instead; raises `Nothing` where there is nothing.

    Raises:
        ValueError: there is no word, a quotation is not closed, or what `place` raises.
    """
    try:
        return str(place(text))  # also with spaces in it
    except Nothing:
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise ValueError(f"expected paths, got {text!r} ({error}); close the quotation") from None
        if words == [text] and "=" not in text:
            raise
    out = []
    for word in words:
        name, equals, where = word.partition("=")
        if not (equals and re.fullmatch(r"\w+", name)) or there(Path(word)):
            out.append(str(place(word)))
        else:
            out.append(word if where in ("download", "random") else f"{name}={place(where)}")
    return shlex.join(out)


def option(*names: str, **settings: Any) -> Any:
    """An option of a command that takes a path: `typer.Option` with `typed`."""
    import typer

    return typer.Option(*names, parser=typed_option, **{"metavar": "PATH", **settings})


def argument(**settings: Any) -> Any:
    """An argument of a command that is a path: `typer.Argument` with `typed`."""
    import typer

    return typer.Argument(parser=typed_option, **settings)


def typed_option(text: str | Path) -> Path:
    """As `typed`; what is wrong is an error of the command line."""
    import typer

    try:
        return typed(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
