"""The command that trains networks: it skips what is there, goes on after a kill, refuses before it starts."""

from dataclasses import replace

import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

from hierlib import train
from hierlib.networks import classifier as networks
from hierlib.networks.classifier import Classifier

SMALL = dict(v=4, m=2, s=2, L=2)
OPTIONS = ["--grammars", "2", "--seeds", "1", "--num-data", "5000", "--width", "64"]


def command(*words):
    return CliRunner().invoke(train.app, [str(word) for word in words])


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(train, "PAPER", SMALL)
    monkeypatch.setattr(train, "FIGURE8_EPS", (0.3, 0.6, 0.85, 1.0))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "PAPER", SMALL)
        done = command("classifiers", "--out", folder, *OPTIONS)
    assert done.exit_code == 0, done.output
    return folder


def test_one_file_and_one_line_a_network(models):
    names = ["cnn-0-0.safetensors", "cnn-1-0.safetensors"]
    assert sorted(path.name for path in models.iterdir()) == names, "the checkpoints are gone"
    kept = [Classifier.load(models / name) for name in names]
    assert [(c.training.grammar_seed, c.training.data_seed, c.training.seed) for c in kept] == [
        (0, 100, 0),
        (1, 101, 1000),
    ]
    assert all(c.history[-1]["train"] >= c.training.interpolation for c in kept)


def test_what_is_there_is_left_alone_and_another_training_is_refused(models, monkeypatch):
    monkeypatch.setattr(train, "train_classifier", None)  # to call it would fail
    before = {path: path.stat().st_mtime_ns for path in models.iterdir()}
    done = command("classifiers", "--out", models, *OPTIONS)
    assert done.exit_code == 0 and done.output.count("is there") == 2
    other = command("classifiers", "--out", models, *OPTIONS[:-1], "32", "--seeds", "2")
    assert other.exit_code == 2 and "expected weights of" in other.output
    assert {path: path.stat().st_mtime_ns for path in models.iterdir()} == before


@pytest.mark.parametrize("bad", [["--grammars", "0"], ["--num-data", "0"], ["--threads", "0"], ["--seed", "3"]])
def test_bad_input_is_refused_before_anything_is_written(tmp_path, bad):
    assert command("classifiers", "--out", tmp_path / "new", *bad).exit_code == 2
    assert not (tmp_path / "new").exists()


def test_a_killed_training_goes_on(models, tmp_path, monkeypatch):
    """Interrupted in its second pass, then started again: the weights are those of an undisturbed run."""
    real = networks.train_classifier

    def interrupted(report, **rest):
        def stop(now):
            report(now)
            if now["epoch"] == 2:
                raise KeyboardInterrupt

        return real(report=stop, **rest)

    options = ["--out", tmp_path, *OPTIONS, "--grammars", "1"]
    monkeypatch.setattr(train, "train_classifier", interrupted)
    done = command("classifiers", *options)
    assert done.exit_code == 130 and "goes on" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["cnn-0-0.part"]
    passes = []

    def watched(report, **rest):
        return real(report=lambda now: passes.append(now["epoch"]) or report(now), **rest)

    monkeypatch.setattr(train, "train_classifier", watched)
    assert command("classifiers", *options).exit_code == 0
    assert min(passes) == 2, "the first pass was not made again"
    name = "cnn-0-0.safetensors"
    assert (tmp_path / name).read_bytes() == (models / name).read_bytes()


def test_a_network_that_does_not_fit_its_data_is_not_kept(tmp_path, monkeypatch):
    real = networks.train_classifier
    monkeypatch.setattr(
        train, "train_classifier", lambda training, **rest: real(training=replace(training, max_epochs=1), **rest)
    )
    done = command("classifiers", "--out", tmp_path, *OPTIONS, "--grammars", "1", "--num-data", "500")
    assert done.exit_code == 1 and "not kept" in done.output
    assert not list(tmp_path.glob("*.safetensors"))


def test_figure8_is_written_with_what_made_it(models, tmp_path):
    out = tmp_path / "figure8.nc"
    words = ["figure8", "--models", models, "--out", out, "--data", "50", "--rows", "100"]
    done = command(*words)
    assert done.exit_code == 0, done.output
    with xr.open_dataset(out) as data:
        assert data.sizes["grammar"] == 2 and data.weights.values.tolist() == ["trained", "untrained"]
        assert data.attrs["n"] == 50 and "figure8" in data.attrs["command"] and data.attrs["commit"]
        assert float(data.accuracy.sel(weights="trained").min()) > 0.99
    before = out.stat().st_mtime_ns
    assert "is there" in command(*words).output and out.stat().st_mtime_ns == before
    empty = command("figure8", "--models", tmp_path, "--out", tmp_path / "other.nc")
    assert empty.exit_code == 2 and "found none" in empty.output
