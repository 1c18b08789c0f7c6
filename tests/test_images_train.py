"""Training the embedded models: it learns, a kill loses nothing but time, the files tell where they come from."""

import gzip
import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hierlib.images import card, classifier, data, files, models, quality, schedule, train
from hierlib.images.probe import cnn_probe
from hierlib.images.unet import small_config, unet
from hierlib.networks import fit


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def stripes(n, seed=0):
    """28 × 28 images of four classes: stripes across or down, dark or bright."""
    labels = torch.arange(n) % 4
    images = torch.randint(60, (n, 28, 28), generator=rng(seed), dtype=torch.uint8)
    across = (torch.arange(28) // 2 % 2 * 80).to(torch.uint8)[:, None].expand(28, 28)
    for image, k in zip(images, labels.tolist(), strict=True):
        image += (across if k % 2 else across.T) + 100 * (k // 2)
    return images, labels.to(torch.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The stripes in the files of Fashion-MNIST."""
    out = tmp_path_factory.mktemp("idx")
    for stem, n, seed in (("train", 400, 0), ("t10k", 100, 1)):
        for kind, x in zip(("images-idx3", "labels-idx1"), stripes(n, seed), strict=True):
            head = b"\0\0\x08" + bytes([x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape)
            (out / f"{stem}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + x.numpy().tobytes(), 1))
    return out


@pytest.fixture
def small(monkeypatch):
    """Networks and schedules of the size of a test."""
    steps = fit.Schedule(960, batch=32, learning_rate=5e-3, warmup=5, ema=0.8)
    monkeypatch.setitem(train.DIFFUSION, "fashion", (dict(widths=(8, 16)), steps))
    steps = fit.Schedule(3200, batch=40, learning_rate=5e-3, warmup=5)
    monkeypatch.setitem(train.CLASSIFIER, "fashion", (dict(width=8), steps))


def test_schedule():
    s = fit.Schedule(1000, batch=10, learning_rate=0.1, warmup=4, decay=0.5)
    rates = [s.rate(i) for i in range(s.steps)]
    assert s.steps == 100 and rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1]) and rates[4:51] == [0.1] * 47
    assert rates[75] == pytest.approx(0.05) and 0 < rates[99] < 1e-3 and rates[50:] == sorted(rates[50:], reverse=True)


def quadratic(seed=0, **change):
    """Least squares; the loss draws noise, so that a resumed run shows if its randomness differs."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
    x = torch.randn(50, 3, generator=rng())

    def loss(index, generator):
        y = x[index].sum(1, keepdim=True) + 0.1 * torch.randn(len(index), 1, generator=generator)
        return (network(x[index]) - y).square().mean()

    schedule = fit.Schedule(600, batch=8, learning_rate=0.02, warmup=3, ema=0.9)
    return network, loss, len(x), schedule


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 7, 40, 74])
def test_training_that_is_killed_and_goes_on_is_the_same_training(tmp_path, at):
    whole = fit.fit(*quadratic(), checkpoint=tmp_path / "a", identity={})

    def kill(shown, running):
        if shown == at * 8:
            raise Killed

    with pytest.raises(Killed):
        fit.fit(*quadratic(), checkpoint=tmp_path / "b", identity={}, every=0, report=kill)
    seen = []
    again = fit.fit(*quadratic(), checkpoint=tmp_path / "b", identity={}, report=lambda n, _: seen.append(n))
    assert seen[0] == at * 8 and seen[-1] == 600, "one step is lost, with a checkpoint at every step"
    assert whole.keys() == again.keys() and all(torch.equal(whole[k], again[k]) for k in whole)
    assert whole["1.num_batches_tracked"] == 75


def test_minutes_end_a_call_and_the_next_one_goes_on(tmp_path):
    whole = fit.fit(*quadratic(), checkpoint=tmp_path / "a", identity={})
    calls = 0
    while (out := fit.fit(*quadratic(), checkpoint=tmp_path / "b", identity={}, minutes=1e-9)) is None:
        calls += 1
    assert calls >= 1 and all(torch.equal(whole[k], out[k]) for k in whole)
    done = fit.fit(*quadratic(), checkpoint=tmp_path / "b", identity={}, report=pytest.fail)
    assert torch.equal(done["2.weight"], whole["2.weight"]), "a finished training is not trained on"


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    fit.fit(*quadratic(), checkpoint=tmp_path / "a", identity=dict(data="x"))
    with pytest.raises(ValueError, match=r"expected a checkpoint of .*'y'.* move it away"):
        fit.fit(*quadratic(), checkpoint=tmp_path / "a", identity=dict(data="y"))
    network, _, n, schedule = quadratic()
    with pytest.raises(ValueError, match="step 1: expected a finite loss, got nan"):
        fit.fit(
            network,
            lambda *_: network[0].weight.sum() * math.nan,
            n,
            schedule,
            checkpoint=tmp_path / "b",
            identity={},
        )


def test_average_of_weights_is_kept(tmp_path):
    network, loss, n, schedule = quadratic()
    seen = []
    kept = fit.fit(
        network,
        loss,
        n,
        schedule,
        checkpoint=tmp_path / "a",
        identity={},
        report=lambda *_: seen.append(network[2].bias.detach().clone()),
    )
    expected = quadratic()[0][2].bias.detach().clone()
    for step, w in enumerate(seen, start=1):
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * w
    torch.testing.assert_close(kept["2.bias"], expected)
    assert not torch.equal(kept["2.bias"], seen[-1])


def test_what_is_trained_is_small_enough_to_ship():
    """7 million weights a denoiser; with three classifiers of each kind 30 MB in float16."""
    total = 0
    for name, (channels, size) in dict(fashion=(1, 28), cifar10=(3, 32)).items():
        with torch.device("meta"):
            denoiser = unet(small_config(channels, size, **train.DIFFUSION[name][0]))
            cnn = classifier.ImageCNN(channels, 10, **train.CLASSIFIER[name][0])
        weights = [sum(p.numel() for p in network.parameters()) for network in (denoiser, cnn)]
        assert weights[0] <= 7e6
        total += 2 * (weights[0] + 3 * weights[1])
    assert total < 30e6


def test_loss_is_the_mean_square_error_of_v():
    """A network that says v exactly has no loss; one that says 0 has that of the variance of v."""
    scheduler = schedule.exact_scheduler(**schedule.LINEAR)
    images = torch.full((64, 1, 4, 4), 255, dtype=torch.uint8)  # x₀ = 1

    def truth(noisy, t, return_dict):
        a = scheduler.alphas_cumprod[t].float()[:, None, None, None]
        return ((a.sqrt() * noisy - 1) / (1 - a).sqrt(),)  # v = √ᾱ ε - √(1-ᾱ) x₀ = (√ᾱ x - x₀) / √(1-ᾱ)

    assert train.denoising_loss(truth, images, scheduler, 2, False)(torch.arange(64), rng()) < 1e-4
    nothing = train.denoising_loss(lambda x, *_, **__: (0 * x,), images, scheduler, 2, False)
    assert 0.9 < nothing(torch.arange(64), rng()) < 1.1


def test_classifier_learns_and_tells_where_it_comes_from(folder, tmp_path, small, capsys):
    out = tmp_path / "classifier-0.safetensors"
    words = ["classifier", "--folder", str(folder), "--out", str(out), "--seed", "3"]
    assert train.main(words) == 0
    network, about = classifier.load_classifier(out)
    assert about["test_accuracy"] > 0.9, "chance is 0.25"
    test = train._data(train._parser().parse_args(words), "test")
    right = (classifier.classify(network, test.images) == test.labels).double().mean()
    assert abs(float(right) - about["test_accuracy"]) < 0.02, "half precision"
    record = about["trained_on"]
    assert record["seed"] == 3 and record["data"] == "Fashion-MNIST, train" and record["examples"] == 3200
    assert record["command"].endswith("classifier --folder " + " ".join(words[2:]))
    assert 0 < record["core_minutes"] < 30
    assert len(record["sha256_of_data"]) == 64 and "MIT" in record["licence_of_data"] and "torch" in record["versions"]
    shown = capsys.readouterr().err
    assert "images/s" in shown and "left" in shown and "loss" in shown
    assert train.main(words) == 2 and "remove it to train again" in capsys.readouterr().err


def test_denoiser_learns_and_its_samples_are_judged(folder, tmp_path, small, capsys):
    out, cnn = tmp_path / "diffusion.safetensors", tmp_path / "cnn.safetensors"
    network = classifier.ImageCNN(1, 10, width=4)
    models.save(cnn, network.state_dict(), dict(kind="classifier", network=network.config))
    words = ["--folder", str(folder)]
    assert train.main(["diffusion", *words, "--out", str(out)]) == 0
    model = models.load_small(out)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        untrained = unet(model.about["network"])
    images = train._data(train._parser().parse_args(["diffusion", *words, "--out", "x"]), "test").images
    after, before = (
        train.denoising_loss(network, images, model.scheduler, 2, False)(torch.arange(len(images)), rng())
        for network in (model.network, untrained)
    )
    assert after < 0.8 * before
    assert train.main(["quality", *words, "--model", str(out), "--classifier", str(cnn), *["--samples", "6"]]) == 0
    about = json.loads(out.with_suffix(".json").read_text())
    assert about["quality"]["samples"] == 6 and about["quality"]["fid"] > 0 and about["sha256"] == model.digest
    assert out.with_suffix(".png").stat().st_size > 100
    models.load_small(out)
    models.describe(cnn, json.loads(cnn.with_suffix(".json").read_text()) | dict(name="CNN", trained_on={}))
    assert train.main(["card", str(tmp_path)]) == 2 and "cnn.json: expected the json of a" in capsys.readouterr().err
    cnn.with_suffix(".json").unlink()
    assert train.main(["card", str(tmp_path)]) == 0
    text = (tmp_path / "README.md").read_text("utf-8")
    for part in (about["name"], "MIT (Zalando SE)", "960 images, seed 0", "FID", "diffusion.png", about["sha256"][:16]):
        assert part in text


def test_a_part_of_the_test_set_to_ship(folder, tmp_path):
    words = ["subset", "--folder", str(folder), "--per-class", "7"]
    assert train.main([*words, "--out", str(tmp_path)]) == 2, "six of the ten classes are empty"
    images, labels = stripes(100)
    for i in range(10):
        labels[i * 10 : i * 10 + 10] = i
    full, part = tmp_path / "full", tmp_path / "part"
    files.write_idx(full / "t10k-images-idx3-ubyte", images)
    files.write_idx(full / "t10k-labels-idx1-ubyte", labels)
    assert train.main(["subset", "--folder", str(full), "--per-class", "7", "--out", str(part)]) == 0
    few, all_ = (data.fashion_mnist("test", folder=x) for x in (part, full))
    assert few.digest() == all_.choose(7).digest() and torch.equal(few.labels.bincount(), torch.full((10,), 7))


SHIPPED = Path(__file__).parents[1] / "book" / "_models" / "fashion"


@pytest.mark.parametrize("folder", [SHIPPED, SHIPPED / "more"], ids=["shown", "more"])
def test_every_file_that_is_shipped_is_on_its_card(folder):
    text = (folder / "README.md").read_text("utf-8")
    assert text == card.model_card(folder), "python -m hierlib.images.train card book/_models/fashion, and …/more"
    for path in folder.iterdir():
        if path.suffix in (".safetensors", ".nc", ".png"):
            assert path.name in text
    for path in folder.glob("*.safetensors"):
        kind = json.loads(path.with_suffix(".json").read_text("utf-8"))["kind"]
        models.load_weights(path, kind)  # its digest is that of the json
    rows = text.count("| Test accuracy |") + text.count("| Samples | FID")
    assert ("which is not kept" in text) == (folder != SHIPPED)
    assert rows == len(list(folder.glob("*.safetensors"))) == text.count(" core minutes |") == text.count("| Command |")


def test_what_is_shipped_is_small():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*.safetensors")) <= 30e6
    labels = files.read_idx(SHIPPED / "t10k-labels-idx1-ubyte", (None,))
    assert labels.bincount().tolist() == [100] * 10


@pytest.mark.parametrize(
    "words, why",
    [
        (["diffusion", "--folder", "nowhere"], "train-images-idx3-ubyte.gz: expected a file, got nothing there"),
        (["diffusion", "--data", "cifar10"], "--folder: expected the folder of CIFAR-10, got none"),
        (["diffusion", "--examples", "0"], "--examples: expected at least 1, got 0"),
        (["classifier", "--batch", "401"], "batch: expected 1 to 400, the size of the data, got 401"),
        (["classifier", "--batch", "-1"], "--batch: expected at least 1, got -1"),
    ],
)
def test_wrong_words(folder, tmp_path, capsys, words, why):
    given = [] if "--folder" in words or "cifar10" in words else ["--folder", str(folder)]
    assert train.main([*words, *given, "--out", str(tmp_path / "x.safetensors")]) == 2
    assert why in capsys.readouterr().err and not list(tmp_path.iterdir())


RUN = """
import sys
from tests import test_images_train as t
from hierlib.networks import fit
from hierlib.images import train
train.CLASSIFIER["fashion"] = (dict(width=8), fit.Schedule(3200, batch=40, learning_rate=5e-3, warmup=5))
sys.exit(train.main(sys.argv[1:]))
"""


def test_a_real_kill(folder, tmp_path, small):
    """SIGKILL in the middle; the same command goes on to the weights of a training that was not killed."""

    def words(name, every):
        out = str(tmp_path / name / "cnn.safetensors")
        return ["classifier", "--folder", str(folder), "--out", out, "--every", str(every)]

    checkpoint = tmp_path / "a" / "cnn.part"
    command = [sys.executable, "-c", RUN, *words("a", 0)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
        while not checkpoint.exists():
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "a" / "cnn.safetensors").exists()
    assert train.main(words("a", 60)) == 0 and train.main(words("b", 60)) == 0
    a, b = ((tmp_path / name / "cnn.safetensors").read_bytes() for name in "ab")
    assert a == b and not checkpoint.exists()


def test_distances_of_gaussians():
    n = 20_000
    x, y = (torch.randn(n, 2, generator=rng(i), dtype=torch.float64) for i in range(2))
    scale, turn = torch.tensor([[2.0, 0], [0, 0.5]]).double(), torch.tensor([[1.0, 1], [-1, 1]]).double() / 2**0.5
    expected = 1 + (4 + 0.25) + 2 - 2 * (2 + 0.5)
    assert abs(quality.frechet_distance(x @ scale @ turn + torch.tensor([0.6, 0.8]), y) - expected) < 0.1
    assert abs(quality.frechet_distance(x, y)) < 0.01
    small_sets = [quality.kernel_distance(*torch.randn(2, 40, 3, generator=rng(i))) for i in range(200)]
    mean = torch.tensor(small_sets)
    assert abs(mean.mean()) < 4 * mean.std() / 200**0.5, "unbiased"
    assert quality.kernel_distance(x[:500], y[:500] + 1) > 1
    with pytest.raises(ValueError, match="features: expected two sets"):
        quality.frechet_distance(x, y[:, :1])


def test_grid(tmp_path):
    from PIL import Image

    images = torch.arange(3, dtype=torch.uint8)[:, None, None, None].expand(3, 1, 2, 2) * 50
    quality.save_grid(tmp_path / "x.png", images, columns=2)
    expected = [[0, 0, 255, 50, 50, 255]] * 2 + [[255] * 6] + [[100, 100, 255, 255, 255, 255]] * 2 + [[255] * 6]
    with Image.open(tmp_path / "x.png") as picture:
        assert [list(picture.crop((0, y, 6, y + 1)).tobytes()) for y in range(6)] == expected
    with pytest.raises(ValueError, match="expected at least 8 for n = 4, got 3"):
        quality.judge(None, cnn_probe(classifier.ImageCNN(1, 2)), images, n=4, steps=2)
