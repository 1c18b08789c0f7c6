"""Answers of longer runs: kept with what made them, taken where they are sharper, refused where they contradict."""

import json

import pytest

from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.run import checksums
from hierlib.book.site import longer
from tests import tiny

PARAMETERS = "m: int = 8  # rules; 1 <= m\ndraws: int = 4  # grammars; 1 <= draws\n"


def answer(value, half, **more):
    return {"id": "a-claim", "value": value, "interval": [value - half, value + half], **more}


@pytest.fixture
def root(tmp_path):
    return tiny.make(tmp_path / "checkout", **{"01_one": tiny.page("One", "print(m)", parameters=PARAMETERS)})


@pytest.fixture
def run(tmp_path):
    """A finished run, as `hierlib run` leaves it."""

    def run(records, **parameters):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        facts = {"chapter": "one", "parameters": {"m": 8, "draws": 4} | parameters, "started": 0.0, "seconds": 9.5}
        facts |= {"commit": "0123456789", "code": "abc", "versions": {"torch": "2"}}
        (folder / "records.json").write_text(json.dumps(records))
        (folder / "run.json").write_text(json.dumps(facts | {"files": checksums(folder)}))
        return folder

    return run


def test_what_is_kept_says_how_to_make_it_again(root, run):
    exact = {"id": "other", "value": 3, "interval": None}
    assert longer.keep(root, run([answer(0.5, 0.01), exact], draws=400)) == ["a-claim"], "an exact one gains nothing"
    kept = longer.read(root)
    assert kept["a-claim"]["interval"] == [0.49, 0.51]
    made = kept["a-claim"]["made"]
    assert (made["command"], made["date"], made["commit"]) == (
        "hierlib run one -p draws=400",
        "1970-01-01",
        "0123456789",
    )


def test_of_several_runs_each_answer_is_the_sharpest(root, run):
    other = {"id": "b-claim"}
    longer.keep(root, run([answer(0.5, 0.01), answer(2.0, 0.3) | other], seed=1))
    found = longer.keep(root, run([answer(0.51, 0.04), answer(2.1, 0.1) | other], seed=2))
    assert found == ["b-claim"]
    kept = longer.read(root)
    assert kept["a-claim"]["interval"] == [0.49, 0.51] and kept["a-claim"]["made"]["command"].endswith("seed=1")
    assert kept["b-claim"]["value"] == 2.1 and kept["b-claim"]["made"]["command"].endswith("seed=2")
    longer.keep(root, run([answer(0.6, 0.02), answer(2.2, 0.2) | other], seed=1))  # again: its old answers go
    kept = longer.read(root)
    assert (kept["a-claim"]["value"], kept["b-claim"]["value"]) == (0.6, 2.1)
    assert longer.keep(root, run([answer(0.7, 0.3), answer(2.3, 0.4) | other], draws=400)) == ["a-claim", "b-claim"]
    assert {one["made"]["drawn"]["draws"] for one in longer.read(root).values()} == {400}, "it drew more"


@pytest.mark.parametrize(
    "records, parameters, why",
    [
        ([answer(0.5, 0.01)], {"m": 2}, "got other m; its answers are to other questions"),
        ([{"id": "other", "value": 3, "interval": None}], {"draws": 400}, "got none"),
    ],
)
def test_runs_that_answer_something_else_are_not_kept(root, run, records, parameters, why):
    with pytest.raises(BadRequest, match=why):
        longer.keep(root, run(records, **parameters))
    assert longer.read(root) == {}


def test_a_run_that_failed_or_was_edited_is_not_kept(root, run):
    folder = run([answer(0.5, 0.01)], draws=400)
    (folder / "records.json").write_text(json.dumps([answer(0.7, 0.01)]))
    with pytest.raises(BadRequest, match="got one that failed or whose files have changed"):
        longer.keep(root, folder)
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({k: v for k, v in facts.items() if k != "files"}))
    with pytest.raises(BadRequest, match="got one that failed"):
        longer.keep(root, folder)
    assert longer.read(root) == {}


def test_a_folder_that_is_no_run(root, tmp_path):
    with pytest.raises(BadRequest, match="expected a finished run"):
        longer.keep(root, tmp_path)


def test_the_sharper_answer_counts_and_the_other_one_is_told():
    long = answer(0.5, 0.01, made={"command": "c", "drawn": {}})
    found = longer.sharper(answer(0.52, 0.05), long)
    assert (found["value"], found["interval"], found["made"]) == (0.5, [0.49, 0.51], long["made"])
    assert found["here"]["value"] == 0.52
    for blunt in (None, *(answer(0.5, half, made={"command": "c", "drawn": {}}) for half in (0.05, 0.08))):
        assert longer.sharper(answer(0.52, 0.05), blunt) == answer(0.52, 0.05)
    exact = {"id": "a-claim", "value": 1, "interval": None}
    assert longer.sharper(exact, long) == exact, "what has no interval is exact"


def test_a_run_that_drew_more_counts_though_its_interval_is_wider():
    """Ten draws may all miss what one in four has; eighty do not."""
    here = answer(0.96, 0.02, parameters={"m": 8, "draws": 4, "data": 2})
    for drawn, counts in (((40, 2), True), ((40, 1), False), ((4, 2), False), ((2, 2), False)):
        long = answer(0.87, 0.05, made={"command": "c", "drawn": dict(zip(("draws", "data"), drawn, strict=True))})
        assert longer.sharper(here, long)["value"] == (0.87 if counts else 0.96), drawn
    fewer = answer(0.97, 0.01, made={"command": "c", "drawn": {"draws": 3, "data": 2}})
    assert longer.sharper(here, fewer) == here, "a narrow interval of fewer draws"


def test_answers_that_contradict_each_other_end_the_build():
    long = answer(0.5, 0.01, made={"command": "hierlib run one -p draws=400", "commit": "0123456789", "drawn": {}})
    with pytest.raises(
        BadRequest, match="run it again: hierlib run one -p draws=400 --out FOLDER && hierlib keep FOLDER"
    ):
        longer.sharper(answer(0.8, 0.05), long)
