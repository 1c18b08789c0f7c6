"""What an experiment starts from: images and networks are what their contents say, whatever their names are."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hierlib.images import experiment as exp
from hierlib.images import models
from hierlib.images.sampler import UTurns
from hierlib.images.storage import save_uturns
from tests import images as small

SHIPPED = Path(__file__).parents[1] / "book" / "_models" / "fashion"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return models.load_small(small.denoiser(tmp_path_factory.mktemp("model") / "model.safetensors"))


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    return models.load_small(small.denoiser(tmp_path_factory.mktemp("model") / "grey.safetensors", channels=1, size=28))


def digits(folder, n=20):
    images = torch.randint(256, (n, 28, 28), generator=small.rng(), dtype=torch.uint8)
    return small.idx(folder, images, torch.arange(n) % 10)


def test_classes_alternate(tmp_path):
    found = exp.open_images(digits(tmp_path), None, 2)
    assert found[:].shape == (20, 1, 28, 28) and found.labels.tolist() == [*range(10)] * 2


def test_other_images_under_the_same_names_are_no_clothes(tmp_path):
    own = exp.open_images(SHIPPED, None, 1)
    assert own.known == "fashion-mnist" and own.classes[1] == "Trouser" and "Zalando" in own.licence
    found = exp.open_images(digits(tmp_path / "fashion-mnist"), None, 1)
    assert found.known == "" and found.classes[1] == "class 1" and found.licence == "unknown"
    assert "fashion" not in found.name.lower()


def test_clothes_are_clothes_wherever_they_lie(tmp_path):
    for name in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        shutil.copy(SHIPPED / f"t10k-{name}.gz", tmp_path / f"t10k-{name.replace('-idx', '.idx')}.gz")
    assert exp.open_images(tmp_path, None, 3).known == "fashion-mnist"


def test_images_that_the_model_does_not_take_are_refused(tmp_path, model, grey):
    digits(tmp_path / "digits")
    small.folder_of_classes(tmp_path / "val")
    with pytest.raises(ValueError, match=r"digits: expected images of 3 × 32 × 32 .* for little, got 1 × 28 × 28"):
        exp.open_images(tmp_path / "digits", model, 1)
    with pytest.raises(ValueError, match=r"val: expected images of 1 × 28 × 28 .* for little, got 3 × 28 × 28"):
        exp.open_images(tmp_path / "val", grey, 1)
    with pytest.raises(ValueError, match="expected images in MNIST's format where no model tells their size"):
        exp.open_images(tmp_path / "val", None, 1)
    assert len(exp.open_images(tmp_path / "val", model, 1)) == 2


def test_words_are_files_patterns_or_several(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my models"
    folder.mkdir()
    for name in ("x.pth", "checkout/_toc.yml", "checkout/book/_models/cnn-7.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("cnn-0", "cnn-1", "other", "._cnn-2"):
        (folder / f"{name}.safetensors").touch()
    both = [f"{folder}/cnn-{i}.safetensors" for i in range(2)]
    assert exp.words_of(f"{folder}/cnn-*.safetensors") == exp.words_of(f"{folder}/cnn-[01].safetensors") == both
    assert exp.words_of(both[0]) == both[:1]
    assert exp.words_of(f"'{both[0]}' resnet50=x.pth") == [both[0], "resnet50=x.pth"]
    assert exp.words_of(f"'{folder}/cnn-?.safetensors' resnet50=x.pth") == [*both, "resnet50=x.pth"]
    assert exp.words_of("resnet50=download convnext_base=download") == ["resnet50=download", "convnext_base=download"]
    bad = {
        "*.none": "got nothing at",
        "": "got nothing",
        "'a": "close the quotation",
        "resnet50=none": "got nothing at",
    }
    for wrong, why in bad.items():
        with pytest.raises(ValueError, match=f"^classifiers: .*{why}"):
            exp.words_of(wrong)
    monkeypatch.chdir(tmp_path / "checkout")
    own = f"{tmp_path}/checkout/book/_models/cnn-7.safetensors"
    assert exp.words_of("_models/cnn-*.safetensors") == [own], "what a chapter names is found from the root, too"
    assert exp.words_of("_models/cnn-7.safetensors resnet50=random") == [own, "resnet50=random"]


def test_networks_have_names_of_their_own(tmp_path):
    for name in ("a", "b"):
        small.cnn(tmp_path / name / "cnn.safetensors", seed=ord(name))
    words = [str(tmp_path / name / "cnn.safetensors") for name in "ab"]
    with pytest.raises(ValueError, match=r"expected files of different names, got .*both to be called 'cnn'"):
        exp.open_probes(words, "cpu")
    (tmp_path / "b" / "cnn.safetensors").rename(tmp_path / "b" / "other.safetensors")
    (tmp_path / "b" / "cnn.json").rename(tmp_path / "b" / "other.json")
    words[1] = words[1].replace("cnn", "other")
    assert [probe.name for probe in exp.open_probes(words, "cpu")] == ["cnn", "other"]


def given(folder, **change):
    words = dict(profile="quick", model="small", weights=str(folder / "model.safetensors"), images=str(folder / "val"))
    words |= dict(classifiers=str(folder / "cnn.safetensors"), per_class=2, steps=4, keep="", seed=0)
    return words | dict(stored=str(folder / "none.nc")) | change


@pytest.mark.slow
def test_what_images_are_is_not_read_off_their_folder(tmp_path, capsys):
    small.folder_of_classes(tmp_path / "val", n=3)
    small.denoiser(tmp_path / "model.safetensors")
    small.cnn(tmp_path / "cnn.safetensors")
    first = exp.experiment(**given(tmp_path))
    (tmp_path / "val").rename(tmp_path / "old-fashioned-cars")
    (tmp_path / "old-fashioned-cars" / ".DS_Store").touch()
    second = exp.experiment(**given(tmp_path, images=str(tmp_path / "old-fashioned-cars")))
    assert not first.fashion and not second.fashion and "passed over, as it is no image" in capsys.readouterr().err
    assert all(torch.equal(a.end, b.end) for a, b in zip(first.turns, second.turns, strict=True))


def test_a_damaged_image_ends_it_before_the_first_step(tmp_path, monkeypatch):
    small.folder_of_classes(tmp_path / "val", n=2)
    small.denoiser(tmp_path / "model.safetensors")
    small.cnn(tmp_path / "cnn.safetensors")
    (tmp_path / "val" / "dog" / "1.png").write_bytes(b"\x89PNG")
    monkeypatch.setattr(exp, "uturns", lambda *a, **b: pytest.fail("the first step"))
    with pytest.raises(ValueError, match=r"1\.png: expected"):
        exp.experiment(**given(tmp_path))


def test_what_a_chapter_names_is_found_from_the_root_of_the_checkout(tmp_path, monkeypatch):
    """As papermill runs it there: weights, images, classifiers, and U-turns that were made before."""
    models_of = tmp_path / "book" / "_models"
    small.folder_of_classes(models_of / "val", n=2)
    small.denoiser(models_of / "model.safetensors")
    small.cnn(models_of / "cnn.safetensors")
    (tmp_path / "_toc.yml").touch()
    words = given(Path("_models"), keep="~/kept")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    here = exp.experiment(**words)
    assert not here.stored and list((tmp_path / "home" / "kept").iterdir()) and not (tmp_path / "~").exists()
    k = [u.k for u in here.turns]
    inputs = exp.inputs_of(here.model, here.data.digest(), k, steps=4, seed=0, matched=False, truncate=False)
    save_uturns(models_of / "none.nc", here.turns, {"inputs": inputs})
    again = exp.experiment(**words)
    assert again.stored and all(torch.equal(a.end, b.end) for a, b in zip(here.turns, again.turns, strict=True))


def test_uturns_made_before_are_those_of_the_images_that_come_with_the_book():
    """By their recorded inputs, all of them: this is what the chapters plot."""
    model = models.load_small(SHIPPED / "diffusion.safetensors")
    images = exp.open_images(SHIPPED, model, 50)
    k = [2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    settings = dict(steps=100, seed=0, matched=False, truncate=False)
    inputs = exp.inputs_of(model, images.digest(), k, **settings)
    assert torch.equal(exp.stored_uturns(SHIPPED / "uturns.nc", inputs)[0].start, images[:])
    assert exp.stored_uturns(SHIPPED / "uturns.nc", inputs | dict(seed=1)) is None


def test_files_are_called_by_their_words(tmp_path):
    for name in ("uturns-of-48000-images.nc", "uturns-matched.nc", "uturns-of-900.txt", "other-one.nc"):
        (tmp_path / name).touch()
    found = exp.named(tmp_path, "uturns-*.nc")
    assert found == {
        "matched": tmp_path / "uturns-matched.nc",
        "of 48,000 images": tmp_path / "uturns-of-48000-images.nc",
    }
    assert exp.named(tmp_path / "nowhere", "uturns-*.nc") == {}


def test_the_first_images_alone():
    start = torch.arange(5, dtype=torch.uint8).reshape(5, 1, 1, 1)
    turns = [UTurns(k, 10, start, start + k) for k in (1, 4)]
    run = exp.Experiment(None, [], None, np.array([0.1, 0.4]), turns, True, {})
    first = run.first(2)
    assert [each.k for each in first] == [1, 4] and first[0].start is first[1].start
    assert first[1].start.flatten().tolist() == [0, 1] and first[1].end.flatten().tolist() == [4, 5]
