"""`hierlib train`: it skips what is there of the same inputs, goes on after a kill, refuses before it starts."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

from hierlib import train
from hierlib.book.commands import commands
from hierlib.enumeration import data_per_class
from hierlib.networks import classifier as networks
from hierlib.networks.classifier import Classifier
from hierlib.networks.denoiser import DenoiserTraining, TrainedDenoiser
from hierlib.networks.language_model import LanguageModel
from hierlib.networks.learning import training_of, whole_seeds

SMALL = dict(v=4, m=2, s=2, L=2)
OPTIONS = ["--grammars", "2", "--seeds", "1", "--num-data", "5000", "--width", "64"]


def command(*words):
    return CliRunner().invoke(commands, ["train", *map(str, words)])


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
    assert other.exit_code == 2 and "expected a result of width 32, got one of width 64" in other.output
    monkeypatch.setattr(train, "PAPER", SMALL | dict(m=1))  # equal shapes, another grammar
    other = command("classifiers", "--out", models, *OPTIONS)
    assert other.exit_code == 2 and "expected a result of m 1, got one of m 2" in other.output
    assert {path: path.stat().st_mtime_ns for path in models.iterdir()} == before


@pytest.mark.parametrize("bad", [["--grammars", "0"], ["--num-data", "0"], ["--threads", "0"], ["--seed", "3"]])
def test_bad_input_is_refused_before_anything_is_written(tmp_path, bad):
    assert command("classifiers", "--out", tmp_path / "new", *bad).exit_code == 2
    assert not (tmp_path / "new").exists()


def test_a_killed_training_goes_on(models, tmp_path, monkeypatch):
    """Interrupted in its second pass, then started again: the weights are those of an undisturbed run."""
    real = networks.train_classifier

    def interrupted(report, **rest):
        def stop(shown, note):
            report(shown, note)
            if shown >= 6000:
                raise KeyboardInterrupt

        return real(report=stop, **rest)

    options = ["--out", tmp_path, *OPTIONS, "--grammars", "1", "--every", "0"]
    monkeypatch.setattr(train, "train_classifier", interrupted)
    done = command("classifiers", *options)
    assert done.exit_code == 130 and "goes on" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["cnn-0-0.part"]
    seen = []

    def watched(report, **rest):
        return real(report=lambda shown, note: seen.append(shown) or report(shown, note), **rest)

    monkeypatch.setattr(train, "train_classifier", watched)
    assert command("classifiers", *options).exit_code == 0
    assert 5800 < seen[0] <= 6200, "at most one step was made again"
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
    before = out.read_bytes()
    assert "is there" in command(*words).output
    for change, why in (("--seed", "seed 1, got one of seed 0"), ("--data", "data 51"), ("--rows", "rows 101")):
        other = command(*words, change, why.split()[1].strip(","))
        assert other.exit_code == 2 and why in other.output, other.output
    others = tmp_path / "others"
    shutil.copytree(models, others)
    done = Classifier.load(others / "cnn-0-0.safetensors")
    done.net.reset_parameters(torch.Generator().manual_seed(9))
    done.save(others / "cnn-0-0.safetensors")
    other = command(*words[:2], others, *words[3:])  # other weights under the same name
    assert other.exit_code == 2 and "weights.cnn-0-0.safetensors" in other.output and out.read_bytes() == before
    out.unlink()
    shutil.copy(others / "cnn-0-0.safetensors", others / "cnn-0-0 copy.safetensors")
    other = command(*words[:2], others, *words[3:])
    assert other.exit_code == 2 and "expected different networks, got one as" in other.output and not out.exists()
    empty = command("figure8", "--models", tmp_path, "--out", tmp_path / "other.nc")
    assert empty.exit_code == 2 and "found none" in empty.output


def test_the_command_trains_measures_keeps_weights_and_then_has_nothing_to_do(tmp_path, call):
    words = ["train", "denoisers", "--out", str(tmp_path), "--process", "mask", "--num-data", "8", "--keep", "8"]
    words += ["--seeds", "0", "--levels", "2", "--steps", "3", "--width", "8"]
    code, said = call(*words)
    assert code == 0 and "mask P=8 seed=0" in said, said
    training, _, _ = TrainedDenoiser.load(tmp_path / "v8-m3-s2-L2-mask-8.safetensors")
    with xr.open_dataset(tmp_path / "v8-m3-s2-L2.nc") as file:
        assert training_of(file, "mask", 8, 0) == training
        assert whole_seeds(file).kept.shape == (12, 10, 1, 1, 1)
        assert "--levels 2" in json.loads(file.attrs["command"]) and "torch" in file.attrs["versions"]
    for same in (words, [*words, "--profile", "full"]):  # an option that is given goes before the profile
        code, said = call(*same)
        assert code == 0 and "P=8 seed=0\n" not in said
    for wrong in (["--profile", "rain"], ["--process", "rain"], ["--width", "9"], ["--num-data", "few"]):
        assert call(*words, *wrong)[0] == 2
    (tmp_path / "v8-m3-s2-L2.nc").unlink()
    code, said = call(*words, "--num-data", "16,8", "--steps", "4")
    assert code == 2 and "mask-8.safetensors: expected a result of steps 4, got one of steps 3" in said, said


def test_language_models_are_trained_kept_and_left_alone(tmp_path, call):
    words = ["train", "language-models", "--out", str(tmp_path), "--levels", "2", "--width", "8", "--heads", "2"]
    words += ["--depth", "1", "--strings", "256", "--seeds", "3,4"]
    code, said = call(*words, "--checkpoints", "2")
    assert code == 0 and said.count("nats a leaf, exact") == 2, said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lm-3.safetensors", "lm-4.safetensors"]
    model, g = LanguageModel.load(tmp_path / "lm-4.safetensors")
    assert (model.training.seed, g.L, g.m, [*model.networks]) == (4, 2, 3, [64, 256])
    before = (tmp_path / "lm-3.safetensors").read_bytes()
    code, said = call(*words, "--checkpoints", "2")
    assert code == 0 and said.count("is there") == 2 and (tmp_path / "lm-3.safetensors").read_bytes() == before
    code, said = call(*words)
    assert code == 2 and "expected a multiple of 2048" in said, said
    code, said = call(*words, "--checkpoints", "2", "--rate", "0.1")
    assert code == 2 and "expected a result of learning_rate 0.1, got one of learning_rate 0.002" in said, said
    code, said = call(*words, "--checkpoints", "2", "--seeds", "5", "--minutes", "0")
    assert code == 3 and "lm-5.safetensors  is not finished" in said, said


def test_the_full_profile_is_larger_and_can_be_drawn():
    quick, full = (train.PROFILES[name] for name in ("quick", "full"))
    assert full.levels > quick.levels and full.steps > quick.steps and full.width > quick.width
    training = DenoiserTraining(L=full.levels, steps=full.steps, width=full.width)
    largest = max(map(int, full.num_data.split(",")))
    assert set(full.keep.split(",")) <= set(full.num_data.split(","))
    assert largest < training.v * data_per_class(3, 2, full.levels), "there are so many strings"
