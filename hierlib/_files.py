"""Files that are whole or not there, readable by whom the umask lets: the one way in which files are written here."""

from __future__ import annotations

import glob
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hierlib import _process


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to: it takes the place of `path` when the block ends, and is removed if it fails.

    The folder is made if need be. Who writes the same file at once, be it from another machine, has another name. What
    a process of this machine has left that was killed is removed with the next success.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.{_process.name()}.part")  # which git ignores
    try:
        yield part
        part.replace(path)
        for other in path.parent.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 8}.*.part"):
            if _process.gone(other.name.removesuffix(".part")):
                other.unlink(missing_ok=True)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of bytes, whole or not at all."""
    with whole(path) as part:
        part.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all."""
    write_bytes(path, text.encode())
