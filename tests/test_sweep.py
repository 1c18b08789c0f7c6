"""Sweeps and what is collected from them, on a tiny checkout; faults on real processes are in tests/faults."""

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from hierlib._provenance import versions
from hierlib.book.runs import collect as collecting
from hierlib.book.runs import report
from hierlib.book.runs import run as running
from hierlib.book.runs import sweep as sweeping
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.run import execute, finished, prepare
from hierlib.book.runs.sweep import plan, run
from hierlib.book.runs.targets import FILES, find_target, quantities
from tests import sweeps

ROOT = Path(__file__).resolve().parents[1]


GRID = ("noise", "-p", "a", "1:4", "-p", "seed", "0,5", "--out", "out")


def test_a_sweep_and_its_dataset(root, call):
    code, out = call("sweep", *GRID)
    assert code == 0 and "6 run, 0 there already, 0 failed" in out and "hierlib collect out" in out
    folders = sorted((root / "out").iterdir())
    assert len(folders) == 6 and not sweeps.leftovers(root / "out")
    for folder in folders:
        facts = json.loads((folder / "run.json").read_text())
        with xr.open_dataset(folder / "data" / "noise.nc") as data:
            inside = {k: data.attrs[k] for k in ("parameters", "seed", "versions", "commit", "key", "seconds")}
        assert json.loads(inside["parameters"]) == facts["parameters"]
        assert json.loads(inside["seed"]) == facts["parameters"]["seed"]
        assert json.loads(inside["versions"]) == versions()
        assert folder.name == f"noise-{inside['key']}" and inside["commit"] == "unknown"
        assert 0 <= float(inside["seconds"]) <= facts["seconds"] < 60

    before = sweeps.stamps(root / "out")
    code, out = call("sweep", *GRID)
    assert code == 0 and "6 there already" in out and sweeps.stamps(root / "out") == before
    code, out = call("sweep", *GRID[:-2], "-p", "b", "0.25,0.5", "--out", "out")
    assert code == 0 and "6 run, 6 there already" in out

    code, out = call("collect", "out", "--out", "all.nc")
    assert code == 0 and "Dimensions" in out
    with xr.open_dataset(root / "all.nc") as data:
        assert dict(data.sizes) == {"a": 3, "b": 2, "seed": 2, "i": 4}
        for a in (1, 2, 3):
            expected = a * np.random.default_rng(5).normal(size=a + 1) + 0.25
            y = data["y"].sel(a=a, b=0.25, seed=5).values
            assert (y[: a + 1] == expected).all() and np.isnan(y[a + 1 :]).all()
            assert data["total"].sel(a=a, b=0.25, seed=5) == expected.sum()
        assert data["n"].dtype == np.int64 and (data["seconds"] >= 0).all()
        assert json.loads(data.attrs["parameters"]) == {"seconds": 0.0, "word": "x"}


def test_one_point_by_run(root, call):
    code, out = call("run", "noise", "-p", "a", "2", "--out", "one")
    assert code == 0 and (root / "one" / "data" / "noise.nc").exists()
    assert call("run", "fragile", "-p", "a", "2")[0] == 0
    (root / "broken").touch()
    code, out = call("run", "fragile", "-p", "a", "2", "--force")
    assert code == 1 and "<deliberate> 2" in out and "traceback.txt" in out


def test_missing_points_are_nan(root):
    jobs = sweeps.jobs(root, "noise", root / "out", a="1:3", seed="0:3")
    run(plan([jobs[0], jobs[5]]), sweeps.here)
    data = collecting.collect(root / "out").data
    assert np.isfinite(data["total"].values).tolist() == [[True, False], [False, True]]
    assert data["n"].dtype == float and data.sizes["seed"] == 2
    [note] = [n for n in collecting.collect(root / "out").notes if "missing; " in n]
    assert note == "2 of the grid's 4 points are missing; 2 not there: a = 1, seed = 2; a = 2, seed = 0"


def test_a_value_at_which_all_has_failed_is_in_the_dataset_and_said(root, call):
    (root / "broken").touch()
    assert call("sweep", "fragile", "-p", "a", "1:4", "--out", "out")[0] == 1
    code, out = call("collect", "out", "--out", "all.nc")
    [folder] = (root / "out").glob("*-failed")
    assert code == 0 and f"1 of the grid's 3 points is missing; 1 failed: a = 2 ({folder.name})" in out
    with xr.open_dataset(root / "all.nc") as data:
        assert data["a"].values.tolist() == [1, 2, 3] and np.isnan(data["square"].sel(a=2))
        assert data.attrs["runs"] == 2
    [job] = sweeps.jobs(root, "fragile", root / "out", a="2")
    sweeping.died(job, "its process died")
    again = collecting.collect(root / "out")
    assert again.data["a"].values.tolist() == [1, 2, 3] and "1 failed: a = 2" in again.notes[0]
    (folder / "run.json").write_text("{")
    assert collecting.collect(root / "out").notes[0] == f"failed, and nobody knows at which point: {folder.name}"
    for other in set((root / "out").iterdir()) - {folder}:
        shutil.rmtree(other)
    with pytest.raises(BadRequest, match=f"holds no finished run; 1 have failed: {folder.name}; `hierlib sweep`"):
        collecting.collect(root / "out")


def test_of_many_missing_points_some_are_named(root):
    jobs = sweeps.jobs(root, "noise", root / "out", a="1:4", seed="0:4")
    run(plan([jobs[0], jobs[5], jobs[10]]), sweeps.here)
    [note] = [n for n in collecting.collect(root / "out").notes if "missing; " in n]
    assert note.startswith("6 of the grid's 9 points are missing; 6 not there: a = 1, seed = 1; ")
    assert note.count("seed = ") == 5 and note.endswith("; and 1 more")


def test_a_failure_is_listed_and_tried_again_on_request_only(root, call):
    words = ("sweep", "fragile", "-p", "a", "1:4", "--out", "out")
    (root / "broken").touch()
    code, out = call(*words)
    assert code == 1 and "2 run, 0 there already, 1 failed" in out
    assert "failed: a = 2: ValueError: <deliberate> 2" in out and "--retry" in out
    trace = next(line.strip() for line in out.splitlines() if "traceback.txt" in line)
    assert "raise ValueError" in (root / trace).read_text()
    (root / "broken").unlink()
    before = sweeps.stamps(root / "out")
    code, out = call(*words)
    assert code == 1 and "failed before: a = 2" in out and trace in out
    assert sweeps.stamps(root / "out") == before, "nothing was run"
    code, out = call(*words, "--retry")
    assert code == 0 and "1 run, 2 there already" in out
    assert len(list((root / "out").iterdir())) == 3, "what had failed is gone"


@pytest.mark.parametrize("terminal", [True, False])
def test_while_it_runs_it_says_what_is_done_what_has_failed_and_the_time_left(root, monkeypatch, terminal):
    """Under a bar; where there is no terminal, by a line at times."""
    (root / "broken").touch()
    monkeypatch.setattr(report, "EVERY", 0)
    tally, out = plan(sweeps.jobs(root, "fragile", root / "out", a="1:5")), io.StringIO()
    report.drive(Console(file=out, force_terminal=terminal, width=100), tally, sweeps.here)
    if terminal:
        assert re.search(r"4/4.* 1 failed .*0:00:\d\d.* left .*0:00:00", out.getvalue())
    else:
        lines = [line.rpartition(", ")[0] for line in out.getvalue().splitlines()]
        assert lines == [f"{done} of 4 done, {int(done > 1)} failed" for done in (1, 2, 3, 4)]
        assert out.getvalue().endswith(", 0.0 s left\n")


def test_of_many_failures_some_are_named_and_all_are_counted(root, call, monkeypatch):
    (root / "broken").touch()
    monkeypatch.setattr(report, "SHOWN", 2)
    path = root / "book" / "quantities.py"
    path.write_text(path.read_text().replace("if a == 2 and", "if a > 2 and"))
    words = ("sweep", "fragile", "-p", "a", "1:9", "--out", "my results")
    code, out = call(*words)
    assert code == 1 and out.count("failed: a =") == 2 and "… and 4 more: my results/*-failed/traceback.txt" in out
    assert "hierlib collect 'my results'" in out
    code, out = call(*words)
    assert code == 1 and out.count("failed before: a =") == 2 and "… and 4 more" in out


def test_a_chapter_a_point(root, call, caplog):
    """Two notebooks by papermill: one raises, the other's data, answer and notebook stay."""
    code, out = call("sweep", "light", "-p", "m", "3,4", "--out", "out")
    assert code == 1 and "1 run" in out and "failed: m = 3: ValueError: <deliberate>" in out
    assert not [entry for entry in caplog.records if entry.name.startswith("papermill")]
    assert [p.name for p in (root / "out").glob("*/light.ipynb") if "failed" not in str(p)] == ["light.ipynb"]
    found = collecting.collect(root / "out")
    there = found.data.sel(m=4)
    assert there["square"].values.tolist() == [0, 4, 8] and there["claim:near-is-far"] == 4
    assert found.data["square"].sel(m=3).isnull().all(), "what failed has its place"
    with xr.open_dataset(next((root / "out").glob("light-????????????????/data/squares.nc"))) as data:
        assert float(data.attrs["seconds"]) > 0


def test_dry_run(root, call):
    code, out = call("sweep", *GRID, "--dry-run", "--jobs", "2")
    assert code == 0 and "6 points, 0 there" in out and "The other 4 would take about" in out and "on 2 workers" in out
    assert len(list((root / "out").iterdir())) == 2
    assert call("sweep", *GRID)[0] == 0
    code, out = call("sweep", *GRID, "--dry-run")
    assert code == 0 and "Nothing is to be run" in out
    code, out = call("sweep", "big", "-p", "a", "1:3", "--dry-run")
    assert code == 0 and "The first two points took" in out and "There is no other" in out
    code, out = call("sweep", "big", "-p", "a", "7", "--dry-run")
    assert code == 0 and "The first point took" in out and "is kept. There is no other" in out


@pytest.mark.parametrize(
    "words, why",
    [
        (["sweep", "noise", "-p", "c", "1"], "noise takes no parameter 'c'"),
        (["sweep", "noise", "-p", "a", "one"], "a: expected an integer"),
        (["sweep", "noise", "-p", "a", "1:11"], "1 <= a <= 9 does not hold for a = 10"),
        (["sweep", "noise", "-p", "a", "4:4"], "is empty"),
        (["sweep", "noise", "-p", "seed", "0:10000000"], "a sweep at most 200,000"),
        (["sweep", "noise", "-p", "seed", "0:9,9:99", "-p", "a", "1:9", "-p", "b", "0:1:1e-4"], "sweep in parts"),
        (["sweep", "noise", "-p", "a", "1", "-p", "a", "2"], "given twice; name it once"),
        (["sweep", "noise", "--grid", "none.yaml"], "cannot be read"),
        (["sweep", "nothing"], "and the quantities are:\n  noise"),
        (["sweep", "../noise"], "there is no chapter '../noise'"),
        (["sweep", "noise", "--out", "_toc.yml"], "cannot be written to"),
        (["sweep", "noise", "--out", "/proc/results"], "cannot be written to"),
        (["sweep", "noise", "--cluster", "here"], "expected tcp://host:port, or local:N"),
        (["sweep", "noise", "--cluster", "local:0"], "expected tcp://host:port, or local:N"),
        (["sweep", "noise", "--cluster", "tcp://127.0.0.1:9", "--wait", "0.3"], "no scheduler answers"),
        (["sweep", "noise", "--cluster", "local:2", "--jobs", "2"], "expected one of them"),
        (["sweep", "noise", "--resources", "GPU=1"], "name a cluster"),
        (["sweep", "noise", "--resources", "GPU", "--cluster", "local:1"], "expected NAME=N"),
        (["sweep", "noise", "--batch", "0"], "Invalid value"),
        (["collect", "nowhere"], "is no folder"),
        (["collect", "book"], "holds no finished run"),
    ],
)
def test_refused_at_once_with_what_to_do(root, call, words, why):
    code, out = call(*words)
    assert code == 2 and why in out, out
    assert not list(root.rglob("noise-*"))


def test_code_that_changes_during_a_sweep_stops_it(root):
    """A worker that starts late must not file what new code gives under the old code's key."""
    first, second = sweeps.jobs(root, "noise", root / "out", a="1,2")
    tally = plan([replace(first, fit="other"), second])
    run(tally, sweeps.here)
    assert "the code has changed" in tally.halted and tally.ran == 0 and not tally.failed
    assert not list((root / "out").glob("*"))


def test_a_full_disk_stops_the_sweep_and_marks_nothing(root, monkeypatch):
    """The library hides the disk's error in one of its own; the folder does not take a byte."""
    jobs = sweeps.jobs(root, "noise", root / "out", a="1:5")
    write, full = Path.write_bytes, []

    def point(*args):
        full.append(1)
        raise RuntimeError("NetCDF: HDF error")

    def no_room(self, data):
        if full and self.name == "room.part":
            raise OSError(28, "No space left on device")
        return write(self, data)

    run(plan(jobs[:1]), sweeps.here)
    monkeypatch.setattr("hierlib.book.runs.run.run_point", point)
    monkeypatch.setattr(Path, "write_bytes", no_room)
    tally = plan(jobs)
    run(tally, sweeps.here)
    assert "No space left" in tally.halted and len(full) == 1 and not tally.failed
    assert [p.name for p in (root / "out").iterdir()] == [jobs[0].folder.name] and finished(jobs[0])


def test_a_folder_that_goes_away_stops_the_sweep(root):
    """Unmounted, removed, or no longer to be written to: that is no fault of the points."""
    jobs = sweeps.jobs(root, "noise", root / "out", a="1:5")
    (root / "out").write_text("no folder any more")
    tally = plan(jobs)
    run(tally, sweeps.here)
    assert "nothing can be written to" in tally.halted and not tally.failed and len(tally.todo) == 4


def test_after_a_halt_every_chapter_has_an_outcome(root):
    """What `build` and `run` say of a full disk: each job has its line, and none has left anything."""
    jobs = sweeps.jobs(root, "noise", root / "out", a="1:4")
    assert execute(jobs[1]).error is None
    todo, told = [replace(job, fit="" if job is jobs[1] else "other") for job in jobs], []
    done = sweeping.execute_all(todo, 2, told.append)
    assert [each.job for each in done] == todo and sorted(map(id, told)) == sorted(map(id, done))
    assert [bool(each.error) for each in done] == [True, False, True] and done[1].cached
    assert all(each.halt and "the code has changed" in each.error and each.left is None for each in done[::2])


def test_the_library_of_another_checkout_is_refused(root, call):
    """Its results would get the key of this checkout's code."""
    (root / "hierlib").mkdir()
    (root / "hierlib" / "__init__.py").touch()
    code, out = call("sweep", "noise", "--out", "out")
    assert code == 2 and "but the library that is installed is" in out and "pip install -e ." in out
    assert not (root / "out").exists()


def test_a_kernel_is_not_interrupted_when_its_notebook_has_ended(root, monkeypatch):
    """It would print an error at times, though nothing is wrong."""
    from jupyter_client import AsyncKernelManager

    called, real = [], AsyncKernelManager._async_interrupt_kernel
    monkeypatch.setattr(AsyncKernelManager, "_async_interrupt_kernel", lambda self: called.append(1) or real(self))
    assert execute(prepare(find_target(root, "light"), {"m": 4}, root / "out")).error is None and not called


def test_a_rival_that_was_quicker_keeps_its_place(root, monkeypatch):
    """Two sweeps at one point: the finished run is never moved, not even for a moment."""
    [job] = sweeps.jobs(root, "noise", root / "out", a="3")
    assert execute(job).error is None
    before = sweeps.stamps(root / "out")
    first, real = [False], finished  # not there when it starts, there when it publishes
    monkeypatch.setattr("hierlib.book.runs.run.finished", lambda j: first.pop() if first else real(j))
    replaced, move = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: replaced.append(self) or move(self, to))
    outcome = execute(job)
    assert outcome.error is None and not outcome.cached and replaced, "it ran, and tried to take the place"
    assert job.folder not in replaced and sweeps.stamps(root / "out") == before
    assert not sweeps.leftovers(root / "out")


@pytest.mark.parametrize("between", [0, 1])
def test_a_rival_with_another_run_keeps_its_place(root, monkeypatch, between):
    """Two runs into one new folder: the slower one fails, even if the other comes after it has looked."""
    one, two = (prepare(find_target(root, "noise"), {"a": a}, root / "out") for a in (2, 3))
    assert execute(one).error is None
    before, refuse, calls = sweeps.stamps(root / "out"), running._refuse_foreign, []
    monkeypatch.setattr(
        running, "_refuse_foreign", lambda *of: calls.append(of) or (len(calls) > between and refuse(*of))
    )
    outcome = execute(two)
    assert (
        outcome.error
        == f"BadRequest: {root / 'out'} holds another run; name another folder, or replace it with --force"
    )
    assert finished(one) and sweeps.stamps(root / "out") == before and not sweeps.leftovers(root)
    assert (outcome.folder / "traceback.txt").exists() and len(calls) == between + 1
    assert execute(replace(two, force=True)).error is None and finished(two)


def test_two_quantities_of_one_name(root):
    path = root / FILES[0]
    path.parent.mkdir(parents=True)
    path.write_text(sweeps.QUANTITIES)
    with pytest.raises(BadRequest, match="a second quantity 'noise'"):
        quantities(root)


def test_the_key_has_the_quantity_and_not_its_neighbours(root):
    def key():
        return sweeps.jobs(root, "noise", root / "out")[0].key

    path, before = root / "book" / "quantities.py", key()
    text = path.read_text()
    path.write_text(text.replace("a * a", "a * a * a").replace("# factor", "# factor of the noise"))
    changed = key()
    path.write_text(text.replace("a * a", "a * a * a") + "# a remark\n")
    assert key() == before != changed, "neighbours and remarks do not count, what it declares does"
    path.write_text(text.replace(") + b", ") - b"))
    assert key() != before


@pytest.mark.parametrize("slug", ["phase-diagram", "level-curves", "message-curves", "empty"])
def test_the_librarys_quantities(slug):
    """At the smallest size: finite where they promise it, and the same from the same seed."""
    quantity = quantities(ROOT)[slug]
    small = {"v": 4, "m": 2, "L": 2, "draws": 3, "data": 4}
    values = {k: small.get(k, p.default) for k, p in quantity.parameters.items()}
    data = quantity(**values)
    assert data.identical(quantity(**values))
    if slug == "phase-diagram":
        assert float(data["mean_field"][0]) == pytest.approx(4 * (4 - 2 * 2 + 1) / (3 * 2))  # v(v-2m+1)/((v-1)(v-m))
        known = np.isfinite(data["threshold"])
        assert known.any() and (data["low"] <= data["high"]).values[known].all()
        lost = quantity(**{**values, "v": 8, "m": 5, "L": 4, "draws": 6, "reach": 0.2})  # no noise is low enough
        assert np.isnan([lost[k].sel(criterion="paper") for k in ("threshold", "low", "high")]).all()
    elif slug != "empty":
        assert data.sizes == {"level": 3} and all(np.isfinite(data[k]).all() for k in data)


def test_one_or_two_processes_in_any_order_resumed_or_not(tmp_path):
    """Bit for bit, by exact inference on drawn grammars."""
    given = {"v": "4", "L": "2", "draws": "2", "m": "2,3", "seed": "0:3"}
    ways = []
    for name, size, order in (("one", 1, 1), ("two", 2, -1)):
        jobs = sweeps.jobs(ROOT, "level-curves", tmp_path / name, **given)
        if size == 2:  # one point was there when it began
            execute(jobs[2])
        tally = plan(jobs[::order])
        run(tally, lambda most, size=size: sweeping.processes(size), batch=size)
        assert tally.ran == len(jobs) - tally.there == len(jobs) - (size == 2) and not tally.failed
        ways.append(sweeps.arrays(tmp_path / name))
    one, two = ways
    assert len(one) == 6 * 4 and one == two
    found = [collecting.collect(tmp_path / name).data.drop_vars("seconds") for name in ("one", "two")]
    assert found[0].equals(found[1])


def test_mutations_find_their_guards():
    """tests/mutations.py removes each guard and sees its test fail; here, that every guard is still where it looks."""
    from tests.mutations import GUARDS

    for guard in GUARDS:
        assert (ROOT / guard.file).read_text("utf-8").count(guard.old) == 1, guard.name
        assert (ROOT / guard.test.split("::")[0]).is_file() and guard.old != guard.new
