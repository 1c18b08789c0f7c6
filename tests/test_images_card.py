"""The model cards: what they say is what the files hold."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from hierlib.images import card, files, models
from tests import images as small

SHIPPED = Path(__file__).parents[1] / "book" / "_models" / "fashion"


@pytest.mark.parametrize(
    "folder", [SHIPPED, SHIPPED / "more", SHIPPED.parent / "pictures"], ids=["shown", "more", "pictures"]
)
def test_every_file_that_is_shipped_is_on_its_card(folder):
    text = (folder / "README.md").read_text("utf-8")
    assert text == card.model_card(folder), "hierlib images card book/_models/fashion, …/more and …/pictures"
    for path in folder.iterdir():
        if path.suffix in (".safetensors", ".nc", ".png"):
            assert path.name in text
    for path in folder.glob("*.safetensors"):
        kind = json.loads(path.with_suffix(".json").read_text("utf-8"))["kind"]
        models.load_weights(path, kind)  # its digest is that of the json
    rows = text.count("| Test accuracy |") + text.count("| Samples | FID")
    assert ("which is not kept" in text) == (folder.name == "more")
    assert rows == len(list(folder.glob("*.safetensors"))) == text.count(" core minutes |") == text.count("| Command |")


def test_what_is_shipped_is_small():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*.safetensors")) <= 30e6
    labels = files.read_idx(SHIPPED / "t10k-labels-idx1-ubyte", (None,))
    assert labels.bincount().tolist() == [100] * 10


@pytest.fixture
def folder(tmp_path):
    for path in SHIPPED.iterdir():
        if path.is_file() and path.name != "README.md":
            shutil.copy(path, tmp_path)
    return tmp_path


def test_what_is_no_model_is_passed_over(folder, capsys):
    before = card.model_card(folder)
    (folder / "package.json").write_text("{}")
    (folder / "._diffusion.json").write_bytes(b"\0\5\x16\7")
    (folder / "._uturns.nc").write_bytes(b"\0\5\x16\7")
    assert card.model_card(folder) == before
    assert "package.json" in capsys.readouterr().err


def test_a_json_of_other_weights_is_refused(folder):
    shutil.copy(folder / "classifier-1.safetensors", folder / "classifier-0.safetensors")
    with pytest.raises(ValueError, match=r"0\.json: expected the json of classifier-0\.safetensors, got that of other"):
        card.model_card(folder)


def test_other_images_are_not_called_clothes(tmp_path):
    images = torch.randint(256, (20, 28, 28), generator=small.rng(), dtype=torch.uint8)
    small.idx(tmp_path, images, torch.arange(20) % 10)
    text = card.model_card(tmp_path)
    assert "20 images of 10 classes, unnamed images" in text and "licence unknown" in text
    assert "Zalando" not in text and "Fashion" not in text


def test_a_folder_that_has_nothing(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match=r"expected .*models with their json files, got none"):
            card.model_card(folder)
