"""Paths that a reader gives to a parameter: from where the command is given, as the chapter will find them.

A chapter runs in book/, so a path of the checkout becomes one from there, and any other an absolute one. A quantity
runs wherever its process is, so that its paths are absolute all.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from hierlib import _paths
from hierlib.book.runs.checkout import Chapter
from hierlib.book.runs.constraints import OUTPUT, PATHS
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.grid import Axes
from hierlib.book.runs.params import Parameter
from hierlib.book.runs.targets import Target


def in_place(target: Target, given: Mapping[str, str]) -> dict[str, str]:
    """What a reader has given, with its paths as the target will find them.

    Args:
        given: text by name; names that the target does not have stay.

    Raises:
        BadRequest: a path is none, or leads to nothing and is not to be made; says where it was looked for.
    """
    return {name: _placed(target, target.parameters.get(name), text) for name, text in given.items()}


def axes_in_place(target: Target, axes: Axes) -> Axes:
    """The same of the values of a grid, which may also come from a file."""
    named = {name: target.parameters[name] for name in axes}
    return {
        name: [_placed(target, named[name], x) if isinstance(x, str) else x for x in values]
        for name, values in axes.items()
    }


def _placed(target: Target, parameter: Parameter | None, text: str) -> str:
    if parameter is None or parameter.names is None or text == parameter.default == "":
        return text
    base = target.path.parent if isinstance(target, Chapter) else None

    def place(word: str) -> str:
        path = _paths.typed(word)
        whole = Path(os.path.abspath(path)) if ".." not in path.parts else path.resolve()
        if parameter.names != OUTPUT and not _paths.there(whole):
            raise _paths.Nothing(_nothing(whole, path, base))
        inside = base is not None and whole.is_relative_to(target.root)
        return Path(os.path.relpath(whole, base)).as_posix() if inside else str(whole)

    try:
        return _paths.each_word(text, place) if parameter.names == PATHS else place(text)
    except ValueError as error:
        raise BadRequest(f"{parameter.name}: {error}") from None


def _nothing(whole: Path, path: Path, base: Path | None) -> str:
    text = f"expected a file or a folder, got {path}, and there is nothing at {whole}"
    text += f"; relative paths count from where you are, {Path.cwd()}"
    if base is not None and not path.is_absolute() and _paths.there(base / path):
        text += f"; is {os.path.relpath(base / path)} meant?"
    return text
