"""The script for minutes of a GPU, rehearsed on the pretended one: what it does first, and how it goes on."""

import importlib
import json
import time

import pytest
import torch

from tests.browser import ROOT
from tests.pretend_cuda import pretend_cuda

MADE = {"commit": "abc", "device": "a pretended GPU", "command": "python benchmarks/gpu.py"}


@pytest.fixture
def gpu(monkeypatch):
    """The script at tiny sizes; chapters and training are not run, but write what a run would."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    gpu = importlib.import_module("gpu")
    tiny = gpu.Case(4, 2, 2, 3, 8, 4)
    for name, value in {"CASES": dict.fromkeys(gpu.CASES, tiny), "COMPARED": [tiny], "BATCHES": (1, 3, 8)}.items():
        monkeypatch.setattr(gpu, name, value)
    monkeypatch.setattr(gpu, "called", [], raising=False)
    value = {"cuda:0": 0.5, "cuda": 0.5, "cpu": 0.3}

    def hierlib(words, at, good=(0,)):
        gpu.called.append(words)
        if words[0] == "run":
            out = at.folder / words[-1]
            out.mkdir(parents=True)
            here = value[words[3].partition("=")[2]]
            (out / "run.json").write_text(json.dumps({"seconds": 10 * here}))
            rows = [{"id": "a", "value": here, "interval": [here - 0.196, here + 0.196]}, {"id": "b", "value": True}]
            (out / "records.json").write_text(json.dumps(rows))
        return 3

    monkeypatch.setattr(gpu, "_hierlib", hierlib)
    return gpu


def setting(gpu, folder, minutes=9.0, data=None):
    end = time.monotonic() + 60 * minutes
    return gpu.Setting(torch.device("cuda"), None, data, folder, 2, end)


def run(gpu, at, out, made=MADE):
    with pretend_cuda(kernels=False):
        return gpu.work(at, out, made)["steps"]


def test_every_step_is_done_and_what_is_written_is_what_was_measured(gpu, tmp_path):
    out = tmp_path / "gpu.json"
    at = setting(gpu, tmp_path / "runs", data=tmp_path)
    found = run(gpu, at, out)
    assert list(found) == list(gpu.steps(at)) and next(iter(found)) == "agreement"
    assert json.loads(out.read_text()) == {"provenance": MADE, "steps": found}
    assert found["agreement"]["agree"] and not any("failed" in step for step in found.values())
    assert set(found["agreement"]["cases"][0]["largest_difference"]) == set(gpu.CALLS)
    assert [case["zipf"] for case in found["agreement"]["cases"]] == [0, 0, 1, 1]
    for name in ("time: paper", "time: batches", "time: next leaf"):
        assert all(0 < t["min"] <= t["median"] <= t["max"] for t in found[name]["microseconds_per_datum"].values())
    assert found["time: paper"]["largest_difference_from_plain_torch"] < 1e-6
    chapter = found["chapter: half-way-and-back"]
    assert chapter["seconds"] == {"cuda": 5, "cpu": 3}
    assert chapter["standard_errors_apart"] == pytest.approx({"a": 0.2 / (0.1 * 2**0.5)})
    assert found["training"]["finished"] is False and gpu.called[-1][:2] == ["train", "diffusion"]


def test_it_goes_on_where_it_stopped_and_begins_nothing_that_it_cannot_end(gpu, tmp_path):
    out = tmp_path / "gpu.json"
    first = run(gpu, setting(gpu, tmp_path / "a", minutes=1.2), out)
    assert "agreement" in first and "time: paper" in first and not any(name.startswith("chapter") for name in first)
    assert run(gpu, setting(gpu, tmp_path / "a", minutes=0), out) == first
    second = run(gpu, setting(gpu, tmp_path / "a"), out)
    assert second.items() > first.items() and "chapter: going-down" in second
    assert run(gpu, setting(gpu, tmp_path / "b", minutes=0), out, MADE | {"commit": "other"}) == {}


def test_what_fails_is_told_tried_again_and_does_not_end_the_rest(gpu, tmp_path, monkeypatch):
    out, whole = tmp_path / "gpu.json", gpu.next_leaf

    def fails(at):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu, "next_leaf", fails)
    found = run(gpu, setting(gpu, tmp_path / "runs"), out)
    assert found["time: next leaf"]["failed"] == "RuntimeError: out of memory"
    assert "failed" not in found["chapter: going-down"]
    monkeypatch.setattr(gpu, "next_leaf", whole)
    assert "failed" not in run(gpu, setting(gpu, tmp_path / "runs"), out)["time: next leaf"]


def test_a_device_that_differs_is_seen(gpu, tmp_path, monkeypatch):
    whole = gpu.CALLS["next_leaf"]
    calls = iter((0, 1e-3) * 4)
    monkeypatch.setitem(gpu.CALLS, "next_leaf", lambda of: [whole(of)[0] + next(calls)])
    found = run(gpu, setting(gpu, tmp_path, minutes=1.1), tmp_path / "gpu.json")["agreement"]
    assert not found["agree"] and found["cases"][0]["largest_difference"]["next_leaf"] > 5e-4
