"""`hierlib images` from end to end, on small pictures and a small model: a file is the result of its inputs."""

import json
import shutil

import pytest
import torch

from hierlib.images import classifier, commands, data, models, sampler
from hierlib.images.experiment import open_images
from hierlib.images.probe import baseline, cnn_probe, compare, statistics
from hierlib.images.storage import load_layers, load_uturns
from tests import images as small


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A denoiser and a classifier of 32 × 32 colour images, untrained, and a folder of such images."""
    root = tmp_path_factory.mktemp("run")
    small.folder_of_classes(root / "val", n=5, size=(40, 36))
    small.denoiser(root / "model.safetensors")
    small.cnn(root / "cnn.safetensors")
    return root


def words(place, folder, *more):
    out = ["--weights", place / "model.safetensors", "--images", place / "val", "--per-class", "2", "--device", "cpu"]
    out += ["--statistics-per-class", "4", "--steps", "4", "--batch", "3", "--folder", folder]
    out += more or ["--probe", place / "cnn.safetensors"]
    return ["images", "run", *map(str, out if "--k" in out else [*out, "--k", "1,3"])]


def test_it_is_the_parts_put_together(place, tmp_path, call):
    code, said = call(*words(place, tmp_path))
    assert code == 0 and "images/s" in said
    found, unrelated, about = load_layers(tmp_path / "layers-cnn.safetensors")
    model = models.load_small(place / "model.safetensors")
    probe = cnn_probe(classifier.load_classifier(place / "cnn.safetensors")[0])
    images, wide = (open_images(place / "val", model, n) for n in (2, 4))
    moments = statistics(probe, wide)
    expected = compare(probe, sampler.uturns(model, images, [1, 3], steps=4, show=False), moments)
    assert list(found) == [1, 3] and found[1].layers == probe.layers and found[1].cosine.shape == (4, 5)
    for k in (1, 3):
        torch.testing.assert_close(found[k].cosine, expected[k].cosine, rtol=0, atol=1e-4)
        assert torch.equal(found[k].kept, expected[k].kept)
    other = baseline(probe, wide, moments, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(unrelated.cosine, other.cosine, rtol=0, atol=1e-4)
    assert about["model"] == "little" and about["of_statistics"] == 8 and about["trained"] is True
    assert about["command"].startswith("hierlib images run --weights model.safetensors --images val --k 1,3 ")


def unlike(place, name):
    """A copy of the place with something else in it."""
    other = place.parent / name
    if not other.exists():
        shutil.copytree(place, other)
        if name == "other-weights":
            small.denoiser(other / "model.safetensors", seed=1)
        if name == "other-schedule":
            path = other / "model.json"
            about = json.loads(path.read_text())
            path.write_text(json.dumps(about | dict(scheduler=about["scheduler"] | dict(beta_end=0.01))))
        if name == "other-network":
            small.cnn(other / "cnn.safetensors", seed=1)
        if name == "other-images":
            small.picture((40, 36), seed=99).save(next(iter(sorted((other / "val" / "cat").iterdir()))))
            for path in (other / "val" / "cat").iterdir():
                small.picture((40, 36), seed=99).save(path)
    return other


CHANGES = {
    "--k": (["--k", "1,2,3"], "k [1, 2, 3], got one of k [1, 3]"),
    "--steps": (["--steps", "5"], "steps 5, got one of steps 4"),
    "--seed": (["--seed", "1"], "seed 1"),
    "--matched": (["--matched"], "matched true"),
    "--truncate": (["--truncate"], "truncate true"),
    "--per-class": (["--per-class", "3"], "images"),
    "--statistics-per-class": (["--statistics-per-class", "5"], "statistics"),
    "--raw-second-moment": (["--raw-second-moment"], "raw_second_moment true"),
    "--jpeg-quality": (["--jpeg-quality", "20"], "jpeg_quality 20"),
    "other-weights": ([], "digest"),
    "other-schedule": ([], "schedule.beta_end 0.01"),
    "other-network": ([], "network"),
    "other-images": ([], "images"),
}


@pytest.fixture(scope="module")
def made(place):
    from typer.testing import CliRunner

    from hierlib.book.commands import commands as hierlib

    given = words(place, place / "out", "--probe", place / "cnn.safetensors", "--ends", place / "ends.nc")
    done = CliRunner().invoke(hierlib, given)
    assert done.exit_code == 0, done.output
    return place / "out"


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_of_other_inputs_is_refused_and_left_alone(place, made, call, change):
    more, why = CHANGES[change]
    its = unlike(place, change) if change.startswith("other") else place
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    code, said = call(*words(its, made, "--probe", its / "cnn.safetensors", *more))
    assert code == 2 and "layers-cnn.safetensors: expected a result of" in said and why in said, said
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before, "before anything is made"


def test_the_same_inputs_make_nothing_anew(place, made, call, monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "save_layers", lambda *a: pytest.fail("nothing is left to do"))
    moved = tmp_path / "elsewhere"  # the same contents under other names
    shutil.copytree(place / "val", moved / "val")
    for name in ("model.safetensors", "model.json", "cnn.safetensors", "cnn.json"):
        shutil.copy(place / name, moved)
    monkeypatch.setattr(commands, "uturns", lambda *a, **b: iter(()))
    code, said = call(*words(moved, made, "--probe", moved / "cnn.safetensors", "--batch", "2"))
    assert code == 0 and "is there already" in said, said


def test_images_in_one_file_of_other_inputs_are_refused(place, made, call):
    probe = ["--probe", place / "cnn.safetensors"]
    code, said = call(*words(place, made, *probe, "--ends", place / "ends.nc"))
    assert code == 0 and "ends.nc is there already" in said
    code, said = call(*words(place, made / "new", *probe, "--ends", place / "ends.nc", "--matched"))
    assert code == 2 and "ends.nc: expected a result of matched true, got one of matched false" in said


def test_options_of_the_authors_code_change_what_they_should(place, tmp_path, call):
    probe = ["--probe", place / "cnn.safetensors"]
    out = {}
    for name, more in {"": [], "raw": ["--raw-second-moment"], "jpeg": ["--jpeg-quality", "20"]}.items():
        assert call(*words(place, tmp_path / name, *probe, *more))[0] == 0
        out[name] = load_layers(tmp_path / name / "layers-cnn.safetensors")[0][1].cosine
    assert (out["raw"] - out[""]).abs().max() > 1e-3 and (out["jpeg"] - out[""]).abs().max() > 1e-3


@pytest.mark.parametrize(
    "change, why",
    [
        (["--probe", "vgg"], "network: expected FILE.safetensors, NAME=FILE, NAME=download or NAME=random"),
        (["--probe", "resnet50=none.pth"], "none.pth: expected a file of weights, got nothing there"),
        (["--probe", "none.safetensors"], "none.safetensors: expected a classifier written by hierlib.images"),
        (["--probe", "CNN", "--probe", "CNN"], "networks: expected files of different names, got"),
        (["--probe", "CNN", "--model", "big"], "model: expected one of small, adm256, pipeline, got 'big'"),
        (["--probe", "CNN", "--images", "nowhere"], "nowhere: expected a folder with one folder of images for each"),
        (["--probe", "CNN", "--k", "0"], "k: expected inversion times from 1 to 4 steps, got [0]"),
        (["--probe", "CNN", "--k", "1,3", "--k", "1"], "--k: expected different inversion times, got 1,3,1"),
        (["--probe", "CNN", "--k", "1,x"], "--k: expected numbers with commas between them, got '1,x'"),
    ],
)
def test_wrong_words(place, tmp_path, call, change, why):
    given = [str(place / "cnn.safetensors") if word == "CNN" else word for word in change]
    code, said = call(*words(place, tmp_path, *given))
    assert code == 2 and why in said and not list(tmp_path.iterdir()), said


def test_two_files_of_one_architecture_are_two_results(place, tmp_path, call):
    from torchvision.models import get_model

    for name, seed in (("a", 0), ("b", 1)):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            torch.save(get_model("resnet50", weights=None).state_dict(), tmp_path / f"{name}.pth")
        (tmp_path / f"{name}.json").write_text('{"resize": 232, "crop": 224}')  # they are none that are published
    probes = [word for name in "ab" for word in ("--probe", f"resnet50={tmp_path / name}.pth")]
    one = ["--k", "1", "--per-class", "1", "--statistics-per-class", "1"]
    assert call(*words(place, tmp_path / "out", *probes, *one))[0] == 0
    found = [load_layers(tmp_path / "out" / f"layers-resnet50-{name}.safetensors") for name in "ab"]
    assert not torch.equal(found[0][0][1].cosine, found[1][0][1].cosine)
    assert [about["probe"] for _, _, about in found] == ["resnet50, a", "resnet50, b"]


def test_all_damaged_images_are_named_before_anything_is_made(place, tmp_path, call):
    shutil.copytree(place, tmp_path / "damaged", ignore=shutil.ignore_patterns("out", "*.nc"))
    bad = sorted((tmp_path / "damaged" / "val" / "dog").iterdir())[:3]
    for path in bad:
        path.write_bytes(path.read_bytes()[:300])
    code, said = call(*words(tmp_path / "damaged", tmp_path / "out", "--probe", place / "cnn.safetensors"))
    assert code == 2 and "expected a whole image, got a damaged file" in said and "more are no better" in said, said
    assert not (tmp_path / "out").exists()


def test_a_network_that_takes_no_such_images_is_refused_before_anything_is_made(place, tmp_path, call):
    small.cnn(tmp_path / "grey.safetensors", channels=1)
    code, said = call(*words(place, tmp_path / "out", "--probe", tmp_path / "grey.safetensors"))
    assert code == 2 and "for grey" in said and not (tmp_path / "out").exists(), said


def test_what_is_passed_over_is_said(place, tmp_path, call):
    shutil.copytree(place / "val", tmp_path / "val")
    (tmp_path / "val" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "val" / "cat" / "notes.txt").write_text("")
    more = ["--probe", place / "cnn.safetensors", "--images", tmp_path / "val"]
    code, said = call(*words(place, tmp_path / "out", *more))
    assert code == 0 and "passed over, as it is no image of a class: .ipynb_checkpoints, cat/notes.txt" in said, said


def test_all_images_in_one_file(place, tmp_path, call):
    path = tmp_path / "ends.nc"
    assert call(*words(place, tmp_path / "run", "--ends", path))[0] == 0
    turns, about = load_uturns(path)
    model = models.load_small(place / "model.safetensors")
    images = open_images(place / "val", model, 2)
    assert images.labels.tolist() == [0, 1, 0, 1]
    for u, k in zip(turns, (1, 3), strict=True):
        assert u.k == k and u.first == 0
        expected = sampler.forward_backward(model, images, k, steps=4, show=False)
        assert torch.equal(u.start, images[0 : len(images)]) and torch.equal(u.end, expected)
    assert about["digest"] == model.digest and about["steps"] == 4 and "--ends ends.nc" in about["command"]
    assert not list(tmp_path.rglob("*.part"))


# ---- what belongs to the models


def test_a_part_of_the_test_set_to_ship(tmp_path, call, monkeypatch):
    images = torch.randint(256, (100, 28, 28), generator=small.rng(), dtype=torch.uint8)
    full = small.idx(tmp_path / "full", images, torch.arange(100) % 10)
    subset = ["images", "subset", "--folder", full, "--per-class", "7", "--out", tmp_path / "part"]
    code, said = call(*map(str, subset))
    assert code == 2 and "expected Fashion-MNIST, which is free to pass on, got unnamed images" in said
    monkeypatch.setitem(data.KNOWN, data.idx_images("test", folder=full).digest(), "Fashion-MNIST, test")
    assert call(*map(str, subset))[0] == 0
    few, all_ = (data.idx_images("test", folder=tmp_path / name) for name in ("part", "full"))
    assert torch.equal(few.labels.bincount(), torch.full((10,), 7))
    assert torch.equal(few.images, all_.choose(7).images) and all_.known and not few.known
