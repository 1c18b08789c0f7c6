"""Training the models of the experiment on images: it learns, and the files tell where they come from."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from hierlib._storage import read_tensors
from hierlib.images import classifier, models, schedule, train
from hierlib.images.unet import small_config, unet
from hierlib.networks import fit
from tests import images as some
from tests.images import rng


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def stripes(n, seed=0):
    """28 × 28 images of four classes: stripes across or down, dark or bright."""
    labels = torch.arange(n) % 4
    images = torch.randint(60, (n, 28, 28), generator=rng(seed), dtype=torch.uint8)
    across = (torch.arange(28) // 2 % 2 * 80).to(torch.uint8)[:, None].expand(28, 28)
    for image, k in zip(images, labels.tolist(), strict=True):
        image += (across if k % 2 else across.T) + 100 * (k // 2)
    return images, labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The stripes in the files of MNIST."""
    out = tmp_path_factory.mktemp("idx")
    for stem, n, seed in (("train", 400, 0), ("t10k", 100, 1)):
        some.idx(out, *stripes(n, seed), stem)
    return out


@pytest.fixture
def small(monkeypatch):
    """Networks and schedules of the size of a test."""
    steps = fit.Schedule(960, batch=32, learning_rate=5e-3, warmup=5, ema=0.8)
    monkeypatch.setitem(train.DIFFUSION, "fashion", (dict(widths=(8, 16)), steps))
    steps = fit.Schedule(3200, batch=40, learning_rate=5e-3, warmup=5)
    monkeypatch.setitem(train.CLASSIFIER, "fashion", (dict(width=8), steps))


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


@pytest.mark.slow
def test_classifier_learns_and_tells_where_it_comes_from(folder, tmp_path, small, call):
    out = tmp_path / "classifier-0.safetensors"
    words = ["train", "classifier", "--folder", str(folder), "--out", str(out), "--seed", "3"]
    code, shown = call(*words)
    assert code == 0 and "images/s" in shown and "left" in shown and "loss" in shown
    network, about = classifier.load_classifier(out)
    assert about["test_accuracy"] > 0.9, "chance is 0.25"
    test = train.open_data("fashion", "test", folder, False)
    right = (classifier.classify(network, test.images) == test.labels).double().mean()
    assert abs(float(right) - about["test_accuracy"]) < 0.02, "half precision"
    record = about["trained_on"]
    assert record["seed"] == 3 and record["examples"] == 3200 and "torch" in record["versions"]
    assert record["data"].startswith("unnamed images") and record["licence_of_data"] == "unknown", "they are no clothes"
    assert record["command"].startswith("hierlib train classifier --out classifier-0.safetensors --data fashion")
    assert 0 < record["core_minutes"] < 30
    assert record["sha256_of_data"] == train.open_data("fashion", "train", folder, False).digest()
    before = out.stat().st_mtime_ns
    assert "is there already" in call(*words)[1] and out.stat().st_mtime_ns == before


OTHERS = {
    "--seed": (["--seed", "4"], "schedule.seed 4, got one of schedule.seed 0"),
    "--examples": (["--examples", "640"], "schedule.examples 640"),
    "--batch": (["--batch", "20"], "schedule.batch 20"),
    "--depth": (["--depth", "1"], "network.depth 1"),
    "other images": ([], "data"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", OTHERS)
def test_a_model_of_other_inputs_is_refused(folder, tmp_path, tmp_path_factory, small, call, change):
    more, why = OTHERS[change]
    out, its = tmp_path / "cnn.safetensors", folder
    words = ["train", "classifier", "--out", str(out), "--examples", "320", "--folder"]
    assert call(*words, str(folder))[0] == 0
    if change == "other images":
        its = tmp_path / "others"
        for stem in ("train", "t10k"):
            some.idx(its, *stripes(400, 5), stem)
    before = out.read_bytes()
    code, said = call(*words, str(its), *more)
    assert code == 2 and why in said and out.read_bytes() == before, said
    out.unlink()  # what a killed training has left belongs to its own inputs, too
    assert call(*words, str(folder), "--minutes", "0")[0] == 3
    code, said = call(*words, str(its), *more)
    assert code == 2 and "cnn.part: expected a result of" in said and why in said, said


@pytest.mark.slow
def test_denoiser_learns_and_its_samples_are_judged(folder, tmp_path, small, call):
    out = tmp_path / "diffusion.safetensors"
    cnn = some.cnn(tmp_path / "cnn.safetensors", channels=1, classes=10)
    words = ["--folder", str(folder)]
    assert call("train", "diffusion", *words, "--out", str(out))[0] == 0
    model = models.load_small(out)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        untrained = unet(model.about["network"])
    images = train.open_data("fashion", "test", folder, False).images
    after, before = (
        train.denoising_loss(network, images, model.scheduler, 2, False)(torch.arange(len(images)), rng())
        for network in (model.network, untrained)
    )
    assert after < 0.8 * before
    quality = ["images", "quality", *words, "--model", str(out), "--classifier", str(cnn), "--samples", "6"]
    assert call(*quality)[0] == 0
    about = json.loads(out.with_suffix(".json").read_text())
    assert about["quality"]["samples"] == 6 and about["quality"]["fid"] > 0 and about["sha256"] == model.digest
    assert out.with_suffix(".png").stat().st_size > 100
    models.load_small(out)
    models.describe(cnn, json.loads(cnn.with_suffix(".json").read_text()) | dict(name="CNN", trained_on={}))
    code, said = call("images", "card", str(tmp_path))
    assert code == 2 and "cnn.json: expected the json of a" in said
    cnn.with_suffix(".json").unlink()
    assert call("images", "card", str(tmp_path))[0] == 0
    text = (tmp_path / "README.md").read_text("utf-8")
    for part in (about["name"], "licence unknown", "960 images, seed 0", "FID", "diffusion.png", about["sha256"][:16]):
        assert part in text
    some.cnn(cnn, channels=1, classes=10, seed=1).with_suffix(".json").unlink()
    code, said = call("images", "card", str(tmp_path))
    assert code == 2 and "expected the quality of its samples by this cnn.safetensors, got that by another file" in said


@pytest.mark.parametrize(
    "words, why",
    [
        (["diffusion", "--folder", "nowhere"], "train-images-idx3-ubyte: expected a file, packed (.gz) or not"),
        (["diffusion", "--data", "cifar10"], "--folder: expected the folder of CIFAR-10, got none"),
        (["diffusion", "--data", "mnist"], "--data: expected one of fashion, cifar10, got 'mnist'"),
        (["diffusion", "--examples", "0"], "--examples"),
        (["classifier", "--batch", "401"], "batch: expected 1 to 400, the size of the data, got 401"),
        (["classifier", "--batch", "-1"], "--batch"),
        (["classifier", "--seed", str(2**32)], "--seed"),
    ],
)
def test_wrong_words(folder, tmp_path, call, words, why):
    given = [] if "--folder" in words or "cifar10" in words else ["--folder", str(folder)]
    code, said = call("train", *words, *given, "--out", str(tmp_path / "x.safetensors"))
    assert code == 2 and why in said and not list(tmp_path.iterdir()), said


RUN = """
import sys
from hierlib.book.commands import commands
from hierlib.networks import fit
from hierlib.images import train
train.CLASSIFIER["fashion"] = (dict(width=8), fit.Schedule(3200, batch=40, learning_rate=5e-3, warmup=5))
commands(args=sys.argv[1:])
"""


@pytest.mark.slow
def test_a_real_kill(folder, tmp_path, small, call):
    """SIGKILL in the middle; the same command goes on to the weights of a training that was not killed."""

    def words(name, every):
        out = str(tmp_path / name / "cnn.safetensors")
        return ["train", "classifier", "--folder", str(folder), "--out", out, "--every", str(every)]

    checkpoint = tmp_path / "a" / "cnn.part"
    command = [sys.executable, "-c", RUN, *words("a", 0)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
        while not checkpoint.exists():
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "a" / "cnn.safetensors").exists() and read_tensors(checkpoint)[1]["step"] > 0
    assert call(*words("a", 60))[0] == 0 and call(*words("b", 60))[0] == 0
    a, b = ((tmp_path / name / "cnn.safetensors").read_bytes() for name in "ab")
    assert a == b and sorted(path.name for path in (tmp_path / "a").iterdir()) == ["cnn.json", "cnn.safetensors"]
