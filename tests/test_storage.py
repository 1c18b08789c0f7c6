"""Files are whole or not there, and readable by whom the umask lets."""

import os
import stat
import subprocess
import threading
import uuid

import pytest
import torch
import xarray as xr

from hierlib import _files as files
from hierlib import _process
from hierlib import _storage as storage


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


WRITERS = {
    "bytes": lambda path: files.write_bytes(path, b"abc"),
    "text": lambda path: files.write_text(path, "ä"),
    "tensors": lambda path: storage.write_tensors(path, {"x": torch.ones(3)}, {"a": 1}),
    "dataset": lambda path: storage.write_dataset(path, xr.Dataset({"x": ("n", [1.0, 2.0])})),
}


@pytest.mark.parametrize("mask, expected", [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
@pytest.mark.parametrize("kind", WRITERS)
def test_the_umask_says_who_reads_it(tmp_path, kind, mask, expected):
    path = tmp_path / "deep" / "er" / "file"
    before = os.umask(mask)
    try:
        WRITERS[kind](path)
    finally:
        os.umask(before)
    assert mode(path) == expected and [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_writer_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(RuntimeError, match="half-way"), files.whole(path) as part:
        part.write_text("half of")
        raise RuntimeError("half-way")
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_has_left_goes_with_the_next_success(tmp_path):
    path = tmp_path / "file[1]"
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead, alive = (_process.name().replace(str(os.getpid()), str(pid)) for pid in (ended.pid, os.getppid()))
    others = [f"file1.0123abcd.{dead}.part", f"file[1].0123abcd.{alive}.part", "file[1].0123abcd.elsewhere-1-2.part"]
    for name in (f"file[1].0123abcd.{dead}.part", *others):
        (tmp_path / name).write_text("left, of another file, being written, or of another machine")
    files.write_text(path, "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*others, "file[1]"])


def test_machines_that_share_a_folder_do_not_meet(tmp_path, monkeypatch):
    """Also those that would draw one number: what tells files apart is the machine, its start and the process."""
    monkeypatch.setattr(files.uuid, "uuid4", lambda: uuid.UUID(int=7))
    with files.whole(tmp_path / "x.nc") as mine:
        monkeypatch.setattr(_process.socket, "gethostname", lambda: "another")
        with files.whole(tmp_path / "x.nc") as yours:
            assert mine != yours
            yours.touch()
        mine.touch()


def test_a_file_that_another_process_is_writing_stays(tmp_path):
    """netCDF reads a file again before it takes its place."""
    with files.whole(tmp_path / "x") as part:
        part.write_text("mine")
        files.write_text(tmp_path / "x", "the quicker one's")
        assert part.read_text() == "mine"
    assert (tmp_path / "x").read_text() == "mine"


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path, content = tmp_path / "file", [bytes([i]) * 200_000 for i in range(8)]

    def write(each):
        for _ in range(20):
            files.write_bytes(path, each)

    threads = [threading.Thread(target=write, args=(each,)) for each in content]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in content and list(tmp_path.iterdir()) == [path]


def test_tensors_and_facts_come_back(tmp_path):
    path, tensors = tmp_path / "x.safetensors", {"a": torch.arange(6).reshape(2, 3), "b": torch.tensor(1.5)}
    storage.write_tensors(path, storage.on_cpu(dict(a=tensors["a"].T, b=tensors["b"]), torch.float32), {"k": [1, "é"]})
    found, about = storage.read_tensors(path)
    assert torch.equal(found["a"], tensors["a"].T.float()) and found["b"] == 1.5 and about == {"k": [1, "é"]}


def other_facts(path):
    import safetensors.torch

    safetensors.torch.save_file({"x": torch.ones(1)}, path, metadata={"about": "[1]"})


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda path: None, "got nothing there; check the path"),
        (lambda path: path.mkdir(), "got a folder; check the path"),
        (lambda path: path.write_bytes(b""), "expected a safetensors file of this library"),
        (lambda path: path.write_bytes(b"\x08\0\0\0\0\0\0\0{}      "), "expected a safetensors file of this library"),
        (lambda path: torch.save({"x": torch.ones(1)}, path), "expected a safetensors file of this library"),
        (other_facts, "expected a safetensors file of this library"),
    ],
)
def test_another_file_is_refused(tmp_path, make, why):
    make(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=f"x.safetensors: .*{why}"):
        storage.read_tensors(tmp_path / "x.safetensors")
