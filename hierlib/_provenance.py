"""What made a result, and whether it is the result that is asked for: versions, commit, device, digests of inputs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_PACKAGES = ("hierlib", "torch", "numpy", "diffusers")


def versions() -> dict[str, str]:
    """Of Python and the packages that results depend on most; the lock has the others."""
    return dict(_versions())


@lru_cache
def _versions() -> dict[str, str]:
    """Read once a process, as packages are imported once: a sweep asks at every point."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit(folder: Path) -> str:
    """The commit checked out in `folder`, with "+ changes" where the tree differs from it, or "unknown"."""

    def git(*words: str) -> str:
        ask = ["git", "-C", str(folder), *words]
        return subprocess.run(ask, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout.strip()

    try:
        name = git("rev-parse", "--short=10", "HEAD")
        return f"{name} + changes" if git("status", "--porcelain") else name
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def device() -> str:
    """The accelerator that this process has used, or the processor."""
    if torch.cuda.is_initialized():
        return f"{torch.cuda.get_device_name()} (CUDA {torch.version.cuda})"
    threads = torch.get_num_threads()
    return f"CPU, {platform.machine()}, {threads} thread{'s' * (threads > 1)}"


def sha256_of(path: Path) -> str:
    """Digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Digest of named tensors, whatever the format or the file that they are from: names, types, shapes, numbers."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        w = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name} {w.dtype} {tuple(w.shape)}\n".encode())
        sha.update(w.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def plain(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs as they are after being written as json and read: what is compared is what was recorded."""
    return json.loads(json.dumps(dict(inputs)))


def same_inputs(path: Path, found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> None:
    """Whether the result at a path was made of these inputs, all of them.

    Args:
        path: of the result, for the message.
        found: the inputs that are recorded in it; None if there are none.
        wanted: the inputs that are asked for, json, files by their digests.

    Raises:
        ValueError: they differ; says in what, and what to do.
    """
    todo = "name another place for the result, or move this one away to make it again"
    if not isinstance(found, Mapping):
        raise ValueError(f"{path}: expected a result that says which inputs made it, got one that does not; {todo}")
    given, asked = dict(_flat(found)), dict(_flat(plain(wanted)))
    differ = [key for key in sorted({*given, *asked}) if given.get(key) != asked.get(key)]
    if differ:
        of = ["; ".join(f"{key} {_short(x.get(key))}" for key in differ) for x in (asked, given)]
        raise ValueError(f"{path}: expected a result of {of[0]}, got one of {of[1]}; {todo}")


def _flat(inputs: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in inputs.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _short(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:50]}…"
