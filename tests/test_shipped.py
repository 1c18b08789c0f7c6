"""What comes with the book says what made it: the files that are there, and what the commands of today would record."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from hierlib import train
from hierlib._provenance import plain, sha256_of
from hierlib._storage import recorded_inputs
from hierlib.images.classifier import ImageCNN
from hierlib.images.data import KNOWN
from hierlib.images.experiment import inputs_of, open_images
from hierlib.images.models import load_small, load_weights
from hierlib.images.picture_classifier import KIND, PictureCNN, PictureData
from hierlib.images.storage import load_uturns
from hierlib.images.train import CLASSIFIER, DIFFUSION, PICTURES
from hierlib.images.unet import small_config
from hierlib.text.commands import _trained_on
from hierlib.text.model import TextModel

MODELS = Path(__file__).parents[1] / "book" / "_models"
FASHION = MODELS / "fashion"


def test_figure_8_is_of_the_networks_beside_it():
    weights = {path.name: sha256_of(path) for path in (MODELS / "tree-cnn").glob("cnn-*.safetensors")}
    options = dict(data=1000, rows=1000, seed=0, eps=train.FIGURE8_EPS, probe_eps=train.PROBE_EPS)
    assert len(weights) == 9
    assert recorded_inputs(MODELS / "tree-cnn" / "figure8.nc") == plain(dict(weights=weights, **options))


@pytest.mark.parametrize(
    "name, model, more",
    [
        ("uturns", "kjv", dict(steps=20, keep=2)),
        ("uturns-shuffled", "kjv-shuffled", dict(steps=20, keep=2)),
        ("uturns-one-by-one", "kjv", dict(steps=64, keep=0, times=[0.8, 1.0])),
    ],
)
def test_uturns_of_text_are_of_the_models_beside_them(name, model, more):
    weights, found = MODELS / "text" / f"{model}.safetensors", recorded_inputs(MODELS / "text" / f"{name}.nc")
    about = TextModel.load(weights).about
    options = dict(windows=96, samples=16, seed=0, times=[k / 10 for k in range(1, 11)]) | more
    assert found == dict(model=sha256_of(weights), words=about["sha256"], **options)
    assert _trained_on(TextModel.load(weights))["words"] == found["words"]


def test_the_card_of_the_text_has_the_digests_in_their_places():
    card = (MODELS / "text" / "README.md").read_text()
    [row] = re.findall(r"weights, sha256 \| `(\w+)…` \| `(\w+)…`", card)
    files = [sha256_of(MODELS / "text" / f"{name}.safetensors") for name in ("kjv", "kjv-shuffled")]
    assert list(row) == [digest[:16] for digest in files]


@pytest.mark.parametrize("path", sorted(p.relative_to(FASHION).as_posix() for p in FASHION.rglob("*.safetensors")))
def test_an_image_model_says_what_it_was_trained_on(path):
    """The same command would find it made, or say in what it differs."""
    kind = "diffusion model" if "diffusion" in path else "classifier"
    about = load_weights(FASHION / path, kind)[1]
    build, schedule = (DIFFUSION if kind == "diffusion model" else CLASSIFIER)["fashion"]
    usual = small_config(1, 28, **build) if kind == "diffusion model" else ImageCNN(1, 10, **build).config
    found = about["inputs"]
    assert KNOWN[found["data"]] == "Fashion-MNIST, train" and found["network"] == about["network"]
    own = {"examples", "seed"} if kind == "classifier" else set()
    assert {k for k, v in asdict(schedule).items() if found["schedule"][k] != v} <= own
    assert {k for k, v in plain(usual).items() if found["network"][k] != v} <= ({"depth"} if "more/" in path else set())
    assert found["schedule"]["examples"] // schedule.batch * schedule.batch == about["trained_on"]["examples"]


@pytest.mark.parametrize("path", sorted((MODELS / "pictures").glob("*.safetensors")), ids=lambda path: path.stem)
def test_a_classifier_of_pictures_says_what_it_was_trained_on(path):
    about = load_weights(path, KIND)[1]
    data = PictureData(grammar=int(path.stem.removeprefix("classifier-")))
    network = PictureCNN(data.side, data.v).config
    assert about["pictures"] == asdict(data) and about["test_accuracy"] > 0.99
    assert about["inputs"] == plain(dict(network=network, data=data.digest(), schedule=asdict(PICTURES)))


@pytest.mark.parametrize("path", sorted(p.relative_to(FASHION).as_posix() for p in FASHION.rglob("*.nc")))
def test_uturns_of_images_say_of_which(path):
    """Weights of two of them are not kept; all else is compared."""
    model, (turns, about) = load_small(FASHION / "diffusion.safetensors"), load_uturns(FASHION / path)
    images = open_images(FASHION, model, about["per_class"])
    options = {k: about[k] for k in ("steps", "seed", "matched", "truncate")}
    wanted = inputs_of(model, images.digest(), [u.k for u in turns], **options)
    assert torch.equal(turns[0].start, images[:])
    assert about["inputs"] == wanted | dict(digest=about["digest"])
    assert (about["digest"] == model.digest) == ("denoiser-of" not in path)
    assert json.loads(json.dumps(about)) == about
