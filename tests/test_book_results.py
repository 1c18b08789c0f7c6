"""Answers to claims and their verdicts, saved numbers, and the stamp."""

import json

import numpy as np
import pytest
import torch
import xarray as xr

from hierlib import book
from hierlib._provenance import commit
from hierlib.book.page.results import claims
from hierlib.book.page.stamp import Stamp
from hierlib.book.site.ledger import Z95, verdict, verdicts
from tests import tiny


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A chapter's kernel as the runner starts it; returns the folder of the run."""
    root = tiny.make(tmp_path / "checkout")
    folder = tmp_path / "run"
    folder.mkdir()
    facts = {"chapter": "one", "parameters": {"m": 2, "seed": 3, "word": "<b>&|*"}, "commit": "abc", "started": 0}
    (folder / "run.json").write_text(json.dumps(facts))
    monkeypatch.chdir(root / "book")
    monkeypatch.setenv("HIERLIB_RUN_DIR", str(folder))
    return folder


def test_record(run):
    shown = book.record("near-is-far", torch.tensor(20.0), interval=(np.float64(19), 21))
    assert repr(shown) == "near-is-far: 20.0, 95 % interval [19.0, 21.0]"
    [row] = json.loads((run / "records.json").read_text())
    assert row["value"] == 20.0 and row["interval"] == [19.0, 21.0]
    assert row["chapter"] == "one" and row["parameters"]["seed"] == 3
    with pytest.raises(ValueError, match="answered twice"):
        book.record("near-is-far", 1)


def test_record_refuses(run):
    with pytest.raises(ValueError, match=r"no claim 'near-is-not'.*near-is-far"):
        book.record("near-is-not", 1)
    for value in (float("nan"), float("inf"), [1, float("nan")], object()):
        with pytest.raises(ValueError, match="finite"):
            book.record("near-is-far", value)
    for interval in ((2, 1), (0, float("nan"))):
        with pytest.raises(ValueError, match="interval"):
            book.record("near-is-far", 1, interval)
    assert not (run / "records.json").exists()


def test_outside_a_run_nothing_is_written(run, monkeypatch):
    monkeypatch.delenv("HIERLIB_RUN_DIR")
    assert book.record("near-is-far", 1)["value"] == 1
    assert book.save("x", {"a": 1}) is None
    assert sorted(p.name for p in run.iterdir()) == ["run.json"]


def test_save_dataset(run):
    data = xr.Dataset({"p": ("level", np.arange(3.0)), "n": ("level", np.arange(3))}, attrs={"unit": "1"})
    path = book.save("level-curves", data)
    assert path == run / "data" / "level-curves.nc"
    with xr.open_dataset(path) as back:
        xr.testing.assert_equal(back, data)
        assert back["n"].dtype == np.int64
        assert json.loads(back.attrs["parameters"])["m"] == 2 and json.loads(back.attrs["seed"]) == 3
        assert back.attrs["unit"] == "1" and back.attrs["commit"] == "abc"
        assert "torch" in json.loads(back.attrs["versions"])


def test_save_dict(run):
    path = book.save("numbers", {"a": np.arange(2), "b": {"c": torch.tensor(1.5)}})
    found = json.loads(path.read_text())
    assert found["data"] == {"a": [0, 1], "b": {"c": 1.5}}
    assert found["seed"] == 3 and found["commit"] == "abc" and found["versions"]["hierlib"]


@pytest.mark.parametrize("name", ["../x", "a/b", "/x", "", "X", "a.b", "a b", "x\n", ".", None, "-x"])
def test_save_stays_in_the_folder(run, name):
    with pytest.raises(ValueError, match="lower-case"):
        book.save(name, {"a": 1})


def test_save_refuses(run):
    for bad in ([1], 1, "x"):
        with pytest.raises(ValueError, match="Dataset or a dict"):
            book.save("x", bad)
    with pytest.raises(ValueError, match="finite"):
        book.save("x", {"a": float("nan")})
    book.save("x", {"a": 1})
    with pytest.raises(ValueError, match="twice"):
        book.save("x", {"a": 2})


SE = 0.1
BAND = [-SE * Z95, SE * Z95]  # around 0


@pytest.mark.parametrize(
    "expect, right, wrong",
    [
        ({"at_most": 1}, 1, 1.01),
        ({"at_most": 1, "se": 3}, 0.69, 0.71),
        ({"at_least": 0}, 0, -0.01),
        ({"at_least": 0, "se": 5}, 0.51, 0.49),
        ({"near": 2, "abs": 0.5}, 2.5, 2.51),
        ({"near": 2, "abs": 0.5, "se": 3}, 1.21, 1.19),
        ({"equals": [8, 16]}, [8, 16], [8, 17]),
        ({"equals": "a"}, "a", "b"),
        ({"holds": True}, True, False),
    ],
)
def test_a_wrong_value_flips_the_verdict(expect, right, wrong):
    claim = {"id": "x", "expect": expect}
    interval = [right + b for b in BAND] if "se" in expect else None
    assert verdict(claim, {"value": right, "interval": interval}) == "reproduced"
    assert verdict(claim, {"value": wrong, "interval": interval}) == "differs"


def test_condition():
    claim = {"id": "x", "expect": {"holds": True}, "condition": {"check": "y", "text": "…"}}
    assert verdict(claim, {"value": True}, condition=True) == "qualified"
    assert verdict(claim, {"value": True}, condition=False) == "reproduced"
    assert verdict(claim, {"value": False}, condition=True) == "differs"
    with pytest.raises(ValueError, match="say whether its condition 'y' holds"):
        verdict(claim, {"value": True})


@pytest.mark.parametrize(
    "expect",
    [
        None,
        {},
        {"at_most": "1"},
        {"at_most": float("nan")},
        {"at_most": 1, "at_least": 0},
        {"near": 1},
        {"at_most": 1, "abs": 1},
        {"near": 1, "abs": -1},
        {"at_least": 1, "se": -1},
        {"holds": False},
        {"holds": True, "se": 1},
        {"equals": 1, "abs": 1},
        {"about": 1},
    ],
)
def test_malformed_expect(expect):
    with pytest.raises(ValueError, match="claim 'x'"):
        verdict({"id": "x", "expect": expect}, {"value": 1, "interval": [0, 2]})


def test_answers_that_do_not_fit():
    with pytest.raises(ValueError, match="interval"):
        verdict({"id": "x", "expect": {"at_most": 1, "se": 3}}, {"value": 0, "interval": None})
    with pytest.raises(ValueError, match="finite number"):
        verdict({"id": "x", "expect": {"at_most": 1}}, {"value": True})
    with pytest.raises(ValueError, match="True or False"):
        verdict({"id": "x", "expect": {"holds": True}}, {"value": 1})


def test_verdicts():
    rows = {
        "a": {"id": "a", "expect": {"holds": True}, "condition": {"check": "b"}},
        "b": {"id": "b", "expect": {"at_most": 1}},
        "c": {"id": "c", "status_if_not_run": "not tested here: no weights"},
        "d": {"id": "d", "expect": {"holds": True}},
    }
    answers = {"a": {"value": True}, "b": {"value": 0}}
    found = verdicts(rows, answers)
    assert found == {"a": "qualified", "b": "reproduced", "c": "not tested here", "d": "not answered yet"}
    answers["b"]["value"] = 2
    assert verdicts(rows, answers)["a"] == "reproduced" and verdicts(rows, answers)["b"] == "differs"


def test_the_ledger_of_the_book_has_no_malformed_row():
    from tests.test_claims_file import ROOT

    for id, claim in claims(ROOT).items():
        if "expect" in claim:
            value = claim["expect"].get("equals", "holds" in claim["expect"] or 0)
            answer = {"value": value, "interval": [0, 0]}
            assert verdict(claim, answer, condition=True) in ("reproduced", "qualified", "differs"), id


def test_stamp(run):
    made = book.stamp()
    assert made.facts["Seed"] == "3" and made.facts["Commit"] == "abc"
    assert "torch" in made.facts["Versions"] and made.facts["Duration"].endswith(" s")
    assert "m = 2" in repr(made)
    assert "&lt;b&gt;&amp;" in made._repr_html_() and "<b>" not in made._repr_html_()
    assert r"\<b\>\&\|\*" in made._repr_markdown_()


def test_stamp_outside_a_run(tmp_path, monkeypatch):
    monkeypatch.delenv("HIERLIB_RUN_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    assert book.stamp().facts["Commit"] == "unknown"


def test_stamp_cannot_open_markup():
    assert "<script" not in Stamp({"Parameters": "x = <script>alert(1)</script>"})._repr_html_()


def test_commit(tmp_path):
    import subprocess

    def git(*words):
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "a")
    clean = commit(tmp_path)
    assert len(clean) == 10
    (tmp_path / "b").write_text("new")
    assert commit(tmp_path) == f"{clean} + changes"
