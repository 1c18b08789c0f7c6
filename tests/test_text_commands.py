"""The command from end to end, on a small text."""

import numpy as np
import xarray as xr
from typer.testing import CliRunner

from hierlib.train import app
from tests import texts
from tests.texts import LENGTH


def test_the_command(tmp_path):
    file = texts.write(tmp_path / "text.txt")
    model, out = tmp_path / "m.safetensors", tmp_path / "u.nc"
    fit = ["text", "fit", "--data", file, "--out", model, "--length", LENGTH, "--vocabulary", 40, "--width", 16]
    fit += ["--blocks", 1, "--examples", 64]
    turn = ["text", "uturns", "--data", file, "--model", model, "--out", out, "--windows", 3, "--samples", 2]

    def run(words, code=0):
        done = CliRunner().invoke(app, list(map(str, words)))
        assert done.exit_code == code, done.output
        return done.output

    assert "nothing there" in run([*fit[:3], tmp_path / "none", *fit[4:]], 2)
    assert "is not finished" in run([*fit, "--minutes", 0], 3)
    assert "validation loss" in run(fit) and "is there" in run(fit)
    assert "numbers between 0 and 1" in run([*turn, "--times", "a"], 2)
    assert "for the control only" in run([*turn, "--shuffle"], 2)
    run([*turn, "--times", ".5,1"])
    with xr.open_dataset(out) as found:
        assert found.sizes == dict(t=2, window=3, distance=LENGTH, run=2, place=LENGTH)
        assert found.attrs["command"].startswith("python -m hierlib.train text uturns")
        assert np.isfinite(found.pairs).all() and found.kept.min() >= 0
    assert not list(tmp_path.glob("*.part"))
