"""The files that a run's parameters name, by path, by pattern or as a folder: a run depends on what is in them.

Names and contents are compared, by sha256. Of many bytes the digest is kept in _build/inputs.json, and counts as long
as each file has its size, the times of its last changes (of content and of entry) and its place on the disk.
"""

import contextlib
import glob
import hashlib
import itertools
import json
import os
import re
import stat
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

from hierlib._files import write_text
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.params import Parameter

LIMIT = 2_000_000  # files that one parameter may name
KEPT = "_build/inputs.json"
KEEP_FROM = 2**24  # bytes, which take some hundredths of a second to read
YOUNG = 2.0  # seconds after a change in which another one might leave the same times
_PASSED_OVER = {"__pycache__", ".git", ".ipynb_checkpoints"}

File = tuple[str, str]  # its name below what a word says, and its path
Mark = tuple[int, ...]  # what tells that a file is as it was


class Inputs:
    """Finds what text parameters name, each text once.

    Args:
        root: the checkout; what it makes is no input, and a folder that it lies in is not looked through.
        base: where paths count from, the folder in which the run will be.
    """

    def __init__(self, root: Path, base: Path):
        self.root, self.base = root, base
        self._made = {str(root / name) for name in ("_build", "results")}
        self._known: dict[str, dict | None] = {}

    def of(self, parameters: Mapping[str, Parameter], values: Mapping) -> dict[str, dict]:
        """By the name of a parameter how many `files` it names, and a digest `sha256` of their names and contents.

        Left out are parameters that name no file, that choose among words (of which none is a file or has a folder
        in it), or that the run itself writes to. A file brings its description, the json of the same stem, if there is
        one: what reads weights reads both.

        Raises:
            BadRequest: there are too many files, or they are being written to.
        """
        found = {}
        for name, text in self._texts(parameters, values):
            if text not in self._known:
                self._known[text] = self._digest(name, text, _words(text))
            if facts := self._known[text]:
                found[name] = facts
        return found

    def of_code(self, texts: Iterable[str]) -> dict[str, dict]:
        """The same of the strings of a code that are paths or patterns with a folder, or folders by a relative path."""
        found: dict[str, dict] = {}
        for text in sorted(set(texts)):
            parts = [part for part in text.split("/") if part not in ("", ".")]
            if not parts or glob.has_magic(parts[0]) or not text.isprintable():
                continue
            folder = os.path.isdir(path := os.path.normpath(self.base / text))
            outside = text.startswith("/") or Path(path) in self.base.parents
            if not (folder and outside) if "/" in text or ".." in parts else folder:
                facts = self._digest("the code", text, [text])
                found |= {text: facts} if facts else {}
        return found

    def refuse_inside(self, parameters: Mapping[str, Parameter], values: Mapping, folder: Path) -> None:
        """Raises BadRequest where results in `folder` would be among what a parameter names."""
        near = [folder, *folder.parents]
        for name, text in self._texts(parameters, values):
            for word in _words(text):
                path = os.path.normpath(self.base / word)
                pattern = os.path.join(glob.escape(str(self.base)), word) if glob.has_magic(word) else glob.escape(path)
                if any(fnmatch(str(p), pattern) for p in near) and any(not self._above(m) for m in self._matches(word)):
                    raise BadRequest(
                        f"{name}: the results would be in {folder}, which is among the files that {text!r} names, and "
                        "each would change what the next depends on; name another folder by --out"
                    )

    def _digest(self, name: str, text: str, words: list[str]) -> dict | None:
        place = f"{self.base}: {text}"
        for _ in range(3):
            entries = self._entries(name, words)
            if not entries:
                return None
            stamp = hashlib.sha256(repr([(short, mark) for (short, _), mark in entries]).encode()).hexdigest()
            large = sum(size for _, (size, *_) in entries) >= KEEP_FROM
            if large and (kept := _kept(self.root).get(place)) and kept["stamp"] == stamp:
                return {"files": len(entries), "sha256": kept["sha256"]}
            digest = hashlib.sha256()
            for (short, path), (size, *_) in entries:
                digest.update(f"{short}\0{_content(path, size)}\n".encode(errors="surrogateescape"))
            if entries == self._entries(name, words):
                if large and time.time() - max(max(mark[1:3]) for _, mark in entries) / 1e9 > YOUNG:
                    _keep(self.root, place, {"stamp": stamp, "sha256": digest.hexdigest()})
                return {"files": len(entries), "sha256": digest.hexdigest()}
        raise BadRequest(f"{name}: files that {text!r} names are being written to; wait until they are whole")

    def _entries(self, name: str, words: list[str]) -> list[tuple[File, Mark]]:
        """Every file, sorted, and what tells that it is as it was."""
        found: dict[str, str] = {}
        for i, word in enumerate(words):
            start = self._start(word)
            for match in self._matches(word):
                if self._above(match):
                    why = "holds this checkout, and is not looked through"
                    warnings.warn(f"{name}: {match} {why}; name a narrower folder", stacklevel=4)
                    continue
                for short, file in self._below(match) if os.path.isdir(match) else _described(match):
                    found[f"{i}/{os.path.relpath(short, start)}"] = file
                    if len(found) > LIMIT:
                        raise BadRequest(f"{name}: {word!r} names more than {LIMIT:,} files; name a narrower folder")
        return [(file, _mark(file[1])) for file in sorted(found.items())]

    def _matches(self, word: str) -> list[str]:
        """Paths of what is there of this name or, if there is nothing, of this pattern."""
        try:
            if os.path.exists(path := os.path.normpath(self.base / word)):
                return [path]
            found = glob.iglob(word, root_dir=self.base, recursive=True) if glob.has_magic(word) else iter(())
            paths = (os.path.normpath(self.base / match) for match in itertools.islice(found, LIMIT + 1))
            return [path for path in paths if path not in self._made]
        except (OSError, ValueError, re.error):  # a name that is too long, or none
            return []

    def _start(self, word: str) -> str:
        """The folder from which names are counted: the one that is named, or the last before a wild card."""
        path = os.path.normpath(self.base / word)
        if os.path.exists(path):
            return path if os.path.isdir(path) else os.path.dirname(path)
        return os.path.join(self.base, *itertools.takewhile(lambda part: not glob.has_magic(part), Path(word).parts))

    def _below(self, folder: str) -> Iterator[File]:
        """All files of a folder, those of linked folders, too, each with a path that is its name.

        Where another name leads to a folder that was looked through, that name counts, and says which folder it is:
        so a circle of links ends, and folders that link to each other in many ways are read once.
        """
        seen: dict[tuple[int, int], str] = {}
        for here, folders, files in os.walk(folder, followlinks=True):
            with contextlib.suppress(OSError):  # gone this moment
                status = os.stat(here)
                first = seen.setdefault((status.st_dev, status.st_ino), here)
                if first != here:
                    folders.clear()
                    yield f"{here} is {os.path.relpath(first, folder)}", here
                    continue
            # sorted, as the disk's order would decide which of two names is the first
            folders[:] = sorted(f for f in folders if f not in _PASSED_OVER and os.path.join(here, f) not in self._made)
            for file in files:
                yield os.path.join(here, file), os.path.join(here, file)

    def _above(self, path: str) -> bool:
        return Path(path) in (self.root, *self.root.parents)

    def _texts(self, parameters: Mapping[str, Parameter], values: Mapping) -> Iterator[tuple[str, str]]:
        """Parameters that may name files, and their values."""
        for name, parameter in parameters.items():
            text = values.get(name)
            if parameter.type != "str" or parameter.written or not text:
                continue
            choice = any(re.match(rf"{name}\s+in\b", constraint) for constraint in parameter.constraints)
            if not choice or "/" in text or any(map(os.path.isfile, self._matches(text))):
                yield name, text


def _described(file: str) -> list[File]:
    """A file, and the json beside it that tells what it is."""
    about = os.path.splitext(file)[0] + ".json"
    return [(each, each) for each in dict.fromkeys((file, about)) if each == file or os.path.isfile(each)]


def _words(text: str) -> list[str]:
    """Paths or patterns that a text may be: all of it, its words, and what stands behind an equals sign."""
    words = dict.fromkeys([text, *text.split(), *text.split(",")])
    words |= dict.fromkeys(word.partition("=")[2] for word in list(words))
    words |= dict.fromkeys(os.path.expanduser(word) for word in list(words))
    return [word.strip() for word in words if word.strip()]


def _mark(path: str) -> Mark:
    """Size, times of change in nanoseconds and place on the disk; of what is no plain file its kind only."""
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)  # a link that leads nowhere, or gone this moment
    if not stat.S_ISREG(status.st_mode):
        return (0, 0, 0, stat.S_IFMT(status.st_mode))
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


def _content(path: str, size: int) -> str:
    """The digest of what is in a file. One without a size is not read: it may be endless, or wait for a writer."""
    if not size:
        return "empty"
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"not to be read: {error.strerror}"


def _kept(root: Path) -> dict[str, dict]:
    try:
        found = json.loads((root / KEPT).read_text("utf-8"))
        return {place: each for place, each in found.items() if {"stamp", "sha256"} <= each.keys()}
    except (OSError, ValueError, AttributeError):
        return {}


def _keep(root: Path, place: str, facts: dict) -> None:
    path = root / KEPT
    with contextlib.suppress(OSError):  # it only saves time
        write_text(path, json.dumps(_kept(root) | {place: facts}))
