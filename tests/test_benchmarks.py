"""The benchmark runs, at a toy size, and its stored results say what made them and keep the promises."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_cpu_benchmark_runs_at_a_toy_size(tmp_path):
    out = tmp_path / "cpu.json"
    command = [sys.executable, "benchmarks/cpu.py", "--tiny", "--rounds", "2", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    case = json.loads(out.read_text(encoding="utf-8"))["cases"]["tiny"]
    assert all(0 < t["min"] <= t["median"] <= t["max"] for t in case["microseconds_per_datum"].values())
    assert "times_faster_than_authors" not in case, "without the peer there is no ratio"
    assert not list(tmp_path.glob("*.part"))


def test_a_folder_without_the_peer_is_refused(tmp_path):
    command = [sys.executable, "benchmarks/cpu.py", "--peer", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "BP_utils.py" in done.stderr


@pytest.fixture
def stored():
    return json.loads((ROOT / "benchmarks" / "results" / "cpu.json").read_text(encoding="utf-8"))


def test_stored_results_say_what_made_them(stored):
    provenance = stored["provenance"]
    assert provenance["command"].startswith("python benchmarks/cpu.py --peer")
    assert all(provenance[key] for key in ("machine", "versions", "commit", "date"))
    assert "dirty" not in provenance["commit"], "measure a committed state"


def test_stored_results_keep_the_promise(stored):
    """At the paper's size: the same numbers, at least 20 times as fast, in a twentieth of the memory."""
    paper = stored["cases"]["paper"]
    assert paper["parameters"] == dict(v=32, m=8, s=2, L=10, batch=128, peer_batch=16)
    assert paper["largest_difference_of_marginals"] < 1e-5
    assert paper["times_faster_than_authors"]["infer"] >= 20
    grown = paper["peak_memory_growth_MiB"]
    assert grown["infer"] <= grown["authors"] / 20
