"""Fetch the weights of ADM, on the user's word: `hierlib images download FILE` (2.2 GB)."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from hierlib._provenance import sha256_of
from hierlib.networks.progress import Progress

URL = "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_diffusion_uncond.pt"
SIZE = 2_211_383_297  #: bytes
SHA256 = "a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1"
CHUNK = 1 << 20


def fetch(path: Path, *, url: str = URL, size: int = SIZE, sha256: str | None = SHA256, show: bool = True) -> None:
    """Download a file and check it; an interrupted download goes on where it stopped.

    Args:
        path: where it goes; until it is whole and checked it is called path.part.
        url: of the file; the server should answer range requests.
        size: expected bytes.
        sha256: expected digest; None: it is not checked.
        show: whether to show progress.

    Raises:
        ValueError: the server has another file, the connection broke (call again to go on), or the digest differs
            (the damaged file is removed).
    """
    path = Path(path)
    if path.exists():
        raise ValueError(f"{path}: expected no file there, got one; remove it to download again")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    if part.exists() and part.stat().st_size > size:
        part.unlink()
    start = part.stat().st_size if part.exists() else 0
    if start < size:
        _receive(url, part, start, size, show)
    got = sha256_of(part)
    if sha256 is not None and got != sha256:
        part.unlink()
        raise ValueError(f"{url}: expected sha256 {sha256}, got {got}; the file was removed, download it again")
    os.replace(part, path)


def _receive(url: str, part: Path, start: int, size: int, show: bool) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            if answer.status != 206:  # the server does not go on in the middle
                start = 0
            total = start + int(answer.headers["Content-Length"] or -1)
            if total != size:
                raise ValueError(f"{url}: expected {size:,} bytes, got {total:,}; is it the right address?")
            bar = Progress(part.stem, size // CHUNK, done=start // CHUNK, unit="MiB", show=show)
            with open(part, "r+b" if start else "wb") as file:
                file.seek(start)
                while block := answer.read(CHUNK):
                    file.write(block)
                    bar.update(file.tell() // CHUNK)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise ValueError(f"{url}: expected the file, got {error}; call again to go on from {part.name}") from error
    if part.stat().st_size != size:
        raise ValueError(
            f"{url}: expected {size:,} bytes, got {part.stat().st_size:,} before the connection broke; call again to "
            f"go on from {part.name}"
        )
