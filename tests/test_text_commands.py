"""`hierlib train text` from end to end, on a small text: a file is the result of its inputs, or it is refused."""

import numpy as np
import pytest
import xarray as xr

from tests import texts
from tests.texts import LENGTH


@pytest.fixture
def run(call):
    def run(words, code=0):
        got, said = call("train", "text", *map(str, words))
        assert got == code, said
        return said

    return run


def words(folder):
    data, model, out = (folder / name for name in ("text.txt", "m.safetensors", "u.nc"))
    fit = ["fit", "--data", data, "--out", model, "--length", LENGTH, "--vocabulary", 40, "--width", 16]
    turn = ["uturns", "--data", data, "--model", model, "--out", out, "--windows", 3, "--samples", 2]
    return [*fit, "--blocks", 1, "--examples", 64], [*turn, "--times", ".5,1"]


def test_a_model_and_its_uturns(tmp_path, run):
    fit, turn = words(tmp_path)
    assert "nothing there" in run(fit, 2)
    texts.write(tmp_path / "text.txt")
    assert "is not finished" in run([*fit, "--minutes", 0], 3)
    assert "validation loss" in run(fit) and "is there" in run(fit)
    assert "expected numbers with commas between them" in run([*turn, "--times", "a"], 2)
    assert "expected different numbers between 0 and 1" in run([*turn, "--times", ".5,2"], 2)
    assert "for the control only" in run([*turn, "--shuffle"], 2)
    run(turn)
    assert "is there" in run(turn)
    with xr.open_dataset(tmp_path / "u.nc") as found:
        assert found.sizes == dict(t=2, window=3, distance=LENGTH, run=2, place=LENGTH)
        assert found.attrs["command"].startswith("hierlib train text uturns --data text.txt --model m.safetensors")
        assert np.isfinite(found.pairs).all() and found.kept.min() >= 0
    assert not list(tmp_path.glob("*.part"))


def test_uturns_of_texts_by_trigrams(tmp_path, run):
    command = ["trigrams", "--data", tmp_path / "text.txt", "--out", tmp_path / "c.nc", "--length", LENGTH]
    command += ["--vocabulary", 40, "--windows", 3, "--samples", 2, "--times"]
    assert "nothing there" in run([*command, ".5,1"], 2)
    texts.write(tmp_path / "text.txt")
    assert "expected different numbers between 0 and 1" in run([*command, ".5,.5"], 2)
    assert "3 texts of 8 words" in run([*command, ".5,1"]) and "is there" in run([*command, ".5,1"])
    assert "times [0.5], got one of times [0.5, 1.0]" in run([*command, ".5"], 2)
    with xr.open_dataset(tmp_path / "c.nc") as found:
        assert found.sizes == dict(t=2, window=3, distance=LENGTH, place=LENGTH) and (found.start > 0).all()
        assert np.isfinite(found.pairs).all() and np.isfinite(found.pairs_given).all()


FITS = {
    "--seed": (1, "schedule.seed 1, got one of schedule.seed 0"),
    "--examples": (96, "schedule.examples 96"),
    "--batch": (16, "schedule.batch 16"),
    "--rate": (0.01, "schedule.learning_rate 0.01"),
    "--width": (8, "size.width 8"),
    "--blocks": (2, "size.blocks 2"),
    "--length": (7, "size.length 7"),
    "--vocabulary": (9, "size.vocabulary 9"),
    "--shuffle": (None, "words"),
}
TURNS = {
    "--seed": (1, "seed 1, got one of seed 0"),
    "--windows": (4, "windows 4"),
    "--samples": (3, "samples 3"),
    "--times": (".5", "times [0.5], got one of times [0.5, 1.0]"),
    "--steps": (3, "steps 3"),
    "--keep": (1, "keep 1"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    from typer.testing import CliRunner

    from hierlib.book.commands import commands

    folder = tmp_path_factory.mktemp("text")
    texts.write(folder / "text.txt")
    for each in words(folder):
        done = CliRunner().invoke(commands, ["train", "text", *map(str, each)])
        assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize("change", FITS)
def test_a_model_of_other_inputs_is_refused(place, run, change):
    value, why = FITS[change]
    before = (place / "m.safetensors").read_bytes()
    said = run([*words(place)[0], change, *([] if value is None else [value])], 2)
    assert "m.safetensors: expected a result of" in said and why in said, said
    assert (place / "m.safetensors").read_bytes() == before


@pytest.mark.parametrize("change", TURNS)
def test_uturns_of_other_inputs_are_refused(place, run, change):
    value, why = TURNS[change]
    before = (place / "u.nc").read_bytes()
    said = run([*words(place)[1], change, value], 2)
    assert "u.nc: expected a result of" in said and why in said, said
    assert (place / "u.nc").read_bytes() == before


def test_another_text_or_model_under_the_same_name_is_refused(place, run, tmp_path):
    for path in place.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    texts.write(tmp_path / "text.txt", seed=1)
    fit, turn = words(tmp_path)
    assert "expected a result of words" in run(fit, 2)
    assert "expected the text of m.safetensors" in run(turn, 2)
    (tmp_path / "m.safetensors").unlink()
    run([*fit, "--seed", 3])
    assert "u.nc: expected a result of model" in run(turn, 2)
    (tmp_path / "text.txt").unlink()
    assert "nothing there" in run(fit, 2) and "nothing there" in run(turn, 2)


def test_parts_of_another_command_are_refused(place, run, tmp_path):
    turn = words(place)[1]
    out = [*turn[: turn.index("--out") + 1], tmp_path / "u.nc", *turn[turn.index("--out") + 2 :]]
    run(out)
    (tmp_path / "u.nc").rename(tmp_path / "u-0.5.part")
    assert "u-0.5.part: expected a result of t 0.5" in run(out, 2) and not (tmp_path / "u.nc").exists()
