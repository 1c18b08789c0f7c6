"""A chapter's file as a notebook; what is wrong with its header or the options of a cell is said with the line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hierlib import _yaml
from hierlib.book.runs.errors import BadRequest

_HEADER = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*$", re.S | re.M)
_MAPPINGS = (("jupytext",), ("jupytext", "text_representation"), ("kernelspec",))
_MAY_FAIL = "raises-exception"  # for nbclient such a cell may fail, for papermill it may not
_CELL = re.compile(r"(`{3,}|~{3,})\{(code|raw)-cell\}")
_OPTIONS = "its options are lines `:name: value`, or YAML between two lines ---"
_TAGS = "write `:tags: [hide-input]`"
_CATCH = "catch the error in the cell: `try: …` and `except ValueError as error: print(error)`"


def read(path: Path, root: Path) -> str:
    """The text of a chapter's or a page's file, with a header that is the same to all who read it (see `plain`).

    Raises:
        BadRequest: it is no text, or its header is no YAML.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadRequest(
            f"{_name(path, root)}:{line}: expected UTF-8, got another encoding; save it as UTF-8"
        ) from None
    return plain(text, _name(path, root))


def plain(text: str, where: str) -> str:
    """A file's text whose header holds JSON only: a date is the text that is written there.

    All else stays as it is, in its line.

    Args:
        text: of the file.
        where: its name, for the message.

    Raises:
        BadRequest: the header is no YAML.
    """
    found = _HEADER.match(text)
    if not found:
        return text
    header = _load(found[1], where)
    if _yaml.same_to_all(found[1], header):
        return text
    start, end = found.span(1)
    return text[:start] + _yaml.one_line(header) + "\n" * found[1].count("\n") + text[end:]


def is_notebook(path: Path, root: Path) -> bool:
    """Whether a page is a MyST-Markdown notebook, as its header says.

    Raises:
        BadRequest: its header is no YAML, or not of the form of a notebook's.
    """
    where, found = _name(path, root), _HEADER.match(read(path, root))
    header = _load(found[1], where) if found else None
    if found is None or header is None:
        return False
    if not isinstance(header, Mapping):
        raise BadRequest(f"{where}:2: expected a header of names and values, got {header!r}; {_yaml.FORM}")
    for keys in _MAPPINGS:
        part: Any = header
        for key in keys:
            part = part.get(key, {})
        if not isinstance(part, Mapping):
            line = 2 + _yaml.line_of(found[1], *keys)
            raise BadRequest(f"{where}:{line}: expected names and values below {keys[-1]}, got {part!r}; {_yaml.FORM}")
    kind = header.get("jupytext", {}).get("text_representation", {}).get("format_name")
    return kind == "myst" or header.get("file_format") == "mystnb"


def notebook(path: Path, root: Path) -> Any:
    """A chapter as a notebook without outputs; `metadata.source_map` has each cell's line.

    Raises:
        BadRequest: a cell's options cannot be read, or say what only some of those who execute it understand.
    """
    from myst_nb.core.read import read_myst_markdown_notebook  # 0.3 s, not needed by `hierlib --help`

    text, where = read(path, root), _name(path, root)
    lines = text.splitlines()

    def cells(count: int) -> Any:
        return read_myst_markdown_notebook("\n".join(lines[:count]), add_source_map=True, path=path)

    try:
        found = cells(len(lines))
    except Exception as error:  # what it raises is not documented; the first cells that cannot be read are these
        starts = [i for i, line in enumerate(lines) if _CELL.match(line)]
        at = next((a for a, b in zip(starts, [*starts[1:], len(lines)]) if _fails(cells, b)), 0)
        if "tags" in getattr(error, "absolute_path", ()):
            raise _wrong(
                where, lines, at, "tags", "a list of words for tags", getattr(error, "instance", None), _TAGS
            ) from None
        why = str(error).splitlines()[0]
        raise BadRequest(f"{where}:{at + 1}: expected a cell that can be read, got: {why}; {_OPTIONS}") from None
    for line, cell in zip(found.metadata["source_map"], found.cells, strict=True):
        _check(cell, lines, where, line - 1)
    return found


def _fails(ask: Callable[[int], Any], count: int) -> bool:
    try:
        ask(count)
    except Exception:
        return True
    return False


def _check(cell: Any, lines: list[str], where: str, at: int) -> None:
    """Options that are JSON, and no tag that papermill and nbclient take in two senses."""
    for name, value in cell.metadata.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            expected = f"words and numbers for {name}"
            raise _wrong(where, lines, at, name, expected, value, "write it in quotes") from None
    if _MAY_FAIL in cell.metadata.get("tags", ()) or _MAY_FAIL in cell.metadata:
        name = _MAY_FAIL if _MAY_FAIL in cell.metadata else "tags"
        raise _wrong(where, lines, at, name, "a cell that runs to its end", _MAY_FAIL, _CATCH)


def _wrong(where: str, lines: list[str], at: int, name: str, expected: str, got: Any, advice: str) -> BadRequest:
    """An option of the cell that begins in line `at`, from 0."""
    at = next((i for i in range(at + 1, len(lines)) if re.match(rf":?{re.escape(name)}\b", lines[i])), at)
    return BadRequest(f"{where}:{at + 1}: expected {expected}, got {got!r}; {advice}")


def _load(header: str, where: str) -> Any:
    try:
        return _yaml.load(header, where, 2)
    except _yaml.NotYaml as error:
        raise BadRequest(str(error)) from None


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
