"""The benchmark runs, at a toy size, and its stored results say what made them and keep the promises."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hierlib.book.runs.benchmarks import messages_per_datum, of_other_questions, power_law, results
from hierlib.book.site.pdf import find_chromium

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


def run(script, *words):
    command = [sys.executable, f"benchmarks/{script}", "--tiny", "--rounds", "1", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_scaling_runs_at_a_toy_size(tmp_path):
    out = tmp_path / "scaling.json"
    run("scaling.py", "--out", out)
    result = json.loads(out.read_text(encoding="utf-8"))
    for rows in result["time"].values():
        for row in rows:
            t, p = row["microseconds_per_datum"], row["parameters"]
            assert 0 < t["min"] <= t["median"] <= t["max"]
            assert row["leaves"] == p["s"] ** p["L"]
    assert result["book"]["seconds"]["torch"]["min"] > 0 and result["book"]["times_faster"] > 0
    (table,) = result["batches"]["tables"]
    for name, ratios in table["times_that_of_the_whole"].items():
        assert len(ratios) == len(table["microseconds_per_datum"][name]) == len(table["batch"])
        assert ratios[table["batch"].index(table["parameters"]["of"])]["median"] == 1
    out.write_text(json.dumps(result | {"book": "as it was", "batches": None}), encoding="utf-8")
    run("scaling.py", "--batches-alone", "--out", out)
    again = json.loads(out.read_text(encoding="utf-8"))
    assert again["book"] == "as it was" and "--batches-alone" in again["batches"]["provenance"]["command"]
    if sys.platform == "linux":
        assert all(row["peak_growth_MiB"] >= 0 for rows in result["memory"].values() for row in rows)
    assert not list(tmp_path.glob("*.part"))


def test_roofline_runs_at_a_toy_size(tmp_path):
    out = tmp_path / "roofline.json"
    command = [sys.executable, "benchmarks/roofline.py", "--tiny", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text(encoding="utf-8"))
    assert all(speed > 1e8 for speed in result["ceilings_per_second"].values())
    case = result["cases"]["tiny"]
    assert case["times_the_limit"] * max(case["limits_microseconds"].values()) == pytest.approx(case["microseconds"])
    assert case["times_the_limit"] > 1, "nothing is faster than the limit"


def test_next_leaf_runs_at_a_toy_size(tmp_path):
    out = tmp_path / "next_leaf.json"
    run("next_leaf.py", "--out", out)
    case = json.loads(out.read_text(encoding="utf-8"))["cases"]["tiny"]
    assert case["largest_difference"] < 1e-5 and all(t > 0 for t in case["microseconds_per_datum"].values())


def test_weights_run_at_a_toy_size(tmp_path):
    out = tmp_path / "weights.json"
    run("weights.py", "--out", out)
    case = json.loads(out.read_text(encoding="utf-8"))["cases"]["tiny"]
    assert all(0 < r["min"] <= r["median"] <= r["max"] for r in case["times_uniform"].values())


def test_weights_cost_no_more_than_a_quarter():
    stored = json.loads((ROOT / "benchmarks" / "results" / "weights.json").read_text(encoding="utf-8"))
    assert "dirty" not in stored["provenance"]["commit"], "measure a committed state"
    assert stored["cases"]["paper"]["parameters"].items() >= dict(v=32, m=8, s=2, L=10).items()
    for case in stored["cases"].values():
        assert max(ratio["median"] for ratio in case["times_uniform"].values()) <= 1.25


def test_what_the_page_says_of_other_questions_is_in_their_files():
    names = ("next_leaf", "weights", "browser")
    files = {name: json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8")) for name in names}
    shown = of_other_questions(files)
    assert float(shown["leaf-paper"]) == round(files["next_leaf"]["cases"]["paper"]["times_infer"], 2)
    ratios = files["weights"]["cases"]["one datum"]["times_uniform"]
    assert float(shown["dearest-one"].split()[0]) == round(max(ratio["median"] for ratio in ratios.values()), 2)
    assert float(shown["page_figure"]) == round(max(files["browser"]["figure_5_seconds"].values()), 1)


def test_browser_runs_at_a_toy_size(tmp_path):
    if find_chromium() is None:
        pytest.skip("not tested: the benchmark of the engine (no Chromium)")
    out = tmp_path / "browser.json"
    run("browser.py", "--out", out)
    result = json.loads(out.read_text(encoding="utf-8"))
    case = result["cases"]["tiny"]
    assert case["largest_difference_of_marginals"] < 1e-5 and "times_faster_than_authors" not in case
    for where in ("browser", "hierlib"):
        assert all(0 < t["min"] <= t["median"] <= t["max"] for t in case[f"{where}_microseconds"].values())
    assert all(seconds > 0 for seconds in result["figure_5_seconds"].values())
    assert result["page_task_milliseconds"].keys() == {
        "noise on one datum while curves compute",
        "exponent of uneven rules",
    }
    for page in result["page_task_milliseconds"].values():
        step, longest = page["a_step"], page["longest_task"]
        assert page["steps"] == 3 and 0 < step["min"] <= step["median"] <= step["max"] and 0 < longest <= step["max"]
        assert page["tasks_over_50"] >= (longest > 50)


def test_all_prefixes_cost_no_more_than_one_inference():
    stored = json.loads((ROOT / "benchmarks" / "results" / "next_leaf.json").read_text(encoding="utf-8"))
    assert "dirty" not in stored["provenance"]["commit"], "measure a committed state"
    for case in stored["cases"].values():
        assert case["largest_difference"] < 1e-5 and case["times_infer"] <= 1.3
    paper = stored["cases"]["paper"]
    assert paper["parameters"].items() >= dict(v=32, m=8, s=2, L=10).items()
    assert paper["times_faster_than_every_prefix"] >= 300


def test_book_benchmark_runs_a_chapter(tmp_path):
    out = tmp_path / "book.json"
    command = [sys.executable, "benchmarks/book.py", "--slug", "hierlib-in-ten-minutes", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seconds = json.loads(out.read_text(encoding="utf-8"))["chapters"]["hierlib-in-ten-minutes"]
    assert seconds.keys() == {"torch", "cpu"} and seconds["torch"] != seconds["cpu"], "it infers something"


def test_another_result_just_written_is_no_other_state(tmp_path, monkeypatch):
    """Benchmarks that follow each other name the same commit, and a changed source is not passed over."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    cpu, git = importlib.import_module("cpu"), ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    for folder in (tmp_path / "benchmarks", tmp_path / "benchmarks" / "results"):
        folder.mkdir()
        (folder / "file").write_text("before")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(cpu, "FOLDER", tmp_path / "benchmarks")
    clean = cpu.provenance([])["commit"]
    (tmp_path / "benchmarks" / "results" / "file").write_text("after")
    assert cpu.provenance([])["commit"] == clean and "dirty" not in clean
    (tmp_path / "benchmarks" / "file").write_text("after")
    assert cpu.provenance([])["commit"] == f"{clean}-dirty"


def test_peers_runs_at_a_toy_size_with_whatever_is_installed(tmp_path):
    out = tmp_path / "peers.json"
    run("peers.py", "--out", out)
    found = json.loads(out.read_text(encoding="utf-8"))["cases"]["tiny"]["contenders"]
    assert set(found) == {"hierlib", "hierlib, plain torch", "PGMax", "pgmpy"}
    assert found["hierlib, plain torch"]["largest_difference_of_marginals"] < 1e-5
    for facts in found.values():  # a peer that is not there is named as such, and has no time
        assert ("failed" in facts) != ("microseconds_per_datum" in facts)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_benchmark_refuses_without_a_gpu(tmp_path):
    out = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--out", str(out)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and "no GPU here" in done.stderr
    assert not out.exists()


def test_no_number_of_a_gpu_stands_where_none_was_measured():
    if not (ROOT / "benchmarks" / "results" / "gpu.json").exists():
        page = " ".join((ROOT / "book" / "21_how-fast.md").read_text(encoding="utf-8").split())
        assert "**GPU: not measured here.**" in page and not re.search(r"GPU[^.]*\d", page)


@pytest.mark.parametrize("name", ["scaling", "peers", "book"])
def test_stored_results_of_growth_and_peers_say_what_made_them(name):
    provenance = results(f"{name}.json", ROOT)["provenance"]
    assert provenance["command"].startswith(f"python benchmarks/{name}.py")
    assert all(provenance[key] for key in ("machine", "versions", "commit", "date"))
    assert "dirty" not in provenance["commit"], "measure a committed state"


def test_stored_peers_answer_the_same_question():
    for case in results("peers.json", ROOT)["cases"].values():
        for facts in case["contenders"].values():
            assert facts["largest_difference_of_marginals"] < 1e-5
            assert facts["microseconds_per_datum"]["median"] > 0


def test_stored_memory_is_that_of_the_results():
    """Besides what is returned there is one vector's worth of upward messages; a stream needs no more than one call.

    With as many data as fill one vector these messages of the levels above the leaves are half as much again.
    """
    memory = results("scaling.json", ROOT)["memory"]
    for rows in memory.values():
        for row in rows:
            assert row["peak_growth_MiB"] <= 1.6 * row["marginals_MiB"] + 8
    grown = [row["peak_growth_MiB"] for row in memory["stream"]]
    assert max(grown) <= 1.1 * min(grown)


@pytest.mark.parametrize("exponent, spread", [(1.0, 0.0), (0.5, 0.0), (1.0, 0.05), (2.0, 0.2)])
def test_a_known_exponent_is_found(exponent, spread):
    random = np.random.default_rng(0)
    x = np.geomspace(1, 1e4, 9)
    covered = []
    for _ in range(400 if spread else 1):
        law = power_law(x, 3 * x**exponent * np.exp(spread * random.normal(size=len(x))))
        covered.append(law.lo - 1e-12 <= exponent <= law.hi + 1e-12)
    assert np.mean(covered) >= 0.91  # 95 % of 400 is 380 ± 4.4
    if spread:
        assert np.mean(covered) <= 0.99
    else:
        assert law.exponent == pytest.approx(exponent) and law.factor == pytest.approx(3)
        assert law(x) == pytest.approx(3 * x**exponent)


@pytest.mark.parametrize("x, y", [([1, 2], [1, 2]), ([1, 2, 3], [1, 0, 1]), ([2, 2, 2], [1, 2, 3]), ([1, 2, 3], [1])])
def test_no_exponent_without_three_positive_points(x, y):
    with pytest.raises(ValueError, match="at least three positive"):
        power_law(x, y)


def test_missing_results_name_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python benchmarks/scaling\.py"):
        results("scaling.json", tmp_path)


@pytest.mark.parametrize("s, L", [(2, 3), (3, 2), (5, 1)])
def test_messages_are_counted(s, L):
    """One up from each inner node, s down to its children, each a sum over v·m rules of products of s factors."""
    inner = sum(s**k for k in range(L))
    messages, factors = messages_per_datum(v=7, m=3, s=s, L=L)
    assert messages == inner + sum(s ** (k + 1) for k in range(L))
    assert factors == messages * 7 * 3 * s


def test_pages_benchmark_measures_a_site_of_one_page(tmp_path):
    if not find_chromium():
        pytest.skip("not tested: the benchmark of pages, for there is no Chromium")
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "a.html").write_text(f"<link rel='icon' href='data:,'><p>{'word ' * 2000}</p>")
    command = [sys.executable, "benchmarks/pages.py", "--rounds", "1", "--site", str(tmp_path)]
    done = subprocess.run([*command, "--out", str(tmp_path / "pages.json")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "pages.json").read_text("utf-8"))
    assert result["pages"].keys() == {"book/a"} and result["provenance"]["command"].endswith("pages.py --rounds 1")
    assert result["pages"]["book/a"]["kB"] == 10 and result["pages"]["book/a"]["first_paint_ms"] > 0
