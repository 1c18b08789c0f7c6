"""Answers to claims and their verdicts, saved numbers, and the stamp."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr

from hierlib import book
from hierlib._provenance import commit
from hierlib.book.page.results import claims
from hierlib.book.page.stamp import Stamp
from hierlib.book.site.ledger import Z95, verdict, verdicts
from hierlib.experiments.curves import Interval
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


def test_an_answer_that_may_be_missing(run):
    nan = float("nan")
    for value, interval in ((None, None), (nan, None), (1.0, (nan, 2)), (Interval(nan, 0, 1), None)):
        assert book.record("near-is-far", value, interval, optional=True) is None
    assert not (run / "records.json").exists()
    assert book.record("near-is-far", Interval(np.float64(20), 19, 21), optional=True)["interval"] == [19.0, 21.0]


def test_many_answers(run):
    book.records({"near-is-far": (1, (0, 2))})
    assert json.loads((run / "records.json").read_text())[0]["interval"] == [0.0, 2.0]
    with pytest.raises(ValueError, match="answered twice"):
        book.records({"near-is-far": Interval(1, 0, 2)})
    book.records({"near-is-far": float("nan")}, optional=True)


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


@pytest.mark.parametrize(
    "expect, right, wrong",
    [
        ({"at_most": 1}, 1, 1.01),
        ({"at_least": 0}, 0, -0.01),
        ({"near": 2, "abs": 0.5}, 2.5, 2.51),
        ({"equals": [8, 16]}, [8, 16], [8, 17]),
        ({"equals": "a"}, "a", "b"),
        ({"holds": True}, True, False),
    ],
)
def test_a_wrong_exact_value_flips_the_verdict(expect, right, wrong):
    claim = {"id": "x", "expect": expect}
    assert verdict(claim, {"value": right, "interval": None}) == "reproduced"
    assert verdict(claim, {"value": wrong, "interval": None}) == "differs"


SE = 0.1
R, N, D = "reproduced", "not resolved", "differs"


@pytest.mark.parametrize(
    "expect, value, found",
    [
        ({"at_most": 1}, 0.80, R),
        ({"at_most": 1}, 0.81, N),
        ({"at_most": 1}, 1.19, N),
        ({"at_most": 1}, 1.20, D),
        ({"at_most": 1, "se": 3}, 0.69, R),
        ({"at_most": 1, "se": 3}, 0.71, N),
        ({"at_most": 1, "se": 3}, 1.20, D),
        ({"at_least": 0}, 0.20, R),
        ({"at_least": 0}, 0.19, N),
        ({"at_least": 0}, -0.20, D),
        ({"at_least": 0, "se": 5}, 0.51, R),
        ({"at_least": 0, "se": 5}, 0.49, N),
        ({"near": 2, "abs": 0.5}, 2.30, R),
        ({"near": 2, "abs": 0.5}, 2.31, N),
        ({"near": 2, "abs": 0.5}, 2.69, N),
        ({"near": 2, "abs": 0.5}, 2.70, D),
        ({"near": 2, "abs": 0.5}, 1.30, D),
        ({"near": 2, "abs": 0.5, "se": 9}, 2.70, D),  # a slack in standard errors widens nothing
        ({"near": 2, "abs": 0.1}, 2.0, N),  # right in the middle, but the interval is wider than what is asked
        ({"near": 0, "abs": 0, "se": 3}, 0.0, N),
        ({"near": 0, "abs": 0, "se": 3}, 0.31, D),
    ],
)
def test_an_interval_decides_by_all_of_it(expect, value, found):
    band = [value - SE * Z95, value + SE * Z95]
    assert verdict({"id": "x", "expect": expect}, {"value": value, "interval": band}) == found


@pytest.mark.parametrize(
    "expect", [{"at_most": 1}, {"at_least": 1}, {"near": 1, "abs": 0.5}, {"near": 1, "abs": 0.5, "se": 3}]
)
def test_a_wider_interval_never_helps(expect):
    """Around any value: what is not reproduced with a narrow interval is not with a wider one; nor does it refute."""
    for value in np.linspace(-1, 3, 41):
        claim = {"id": "x", "expect": expect}
        found = [verdict(claim, {"value": value, "interval": [value - w, value + w]}) for w in (0, 0.01, 0.1, 1, 10)]
        assert found[-1] == N
        assert all(b in (a, N) for a, b in pairwise(found)), (value, found)
        assert found[0] != N


def test_condition():
    claim = {"id": "x", "expect": {"holds": True}, "condition": {"check": "y", "text": "…"}}
    assert verdict(claim, {"value": True}, condition=R) == "qualified"
    assert verdict(claim, {"value": True}, condition=D) == R
    assert verdict(claim, {"value": True}, condition=N) == N
    assert verdict(claim, {"value": False}, condition=R) == D
    with pytest.raises(ValueError, match="say what its condition 'y' came to"):
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
            assert verdict(claim, answer, condition=R) in (R, "qualified", N, D), id


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
