"""Both chapters on images with `-p model adm256 -p weights … -p images …`: the whole way, with a tiny ADM."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from hierlib.book.runs.checkout import chapters, find_checkout
from hierlib.book.runs.run import execute, prepare
from hierlib.images import classifier, models
from hierlib.images.probe import torchvision_probe
from tests.images import folder_of_classes
from tests.test_images_adm import GOLDEN, golden, source  # noqa: F401

CHAPTERS = chapters(find_checkout(Path(__file__).parent))


@pytest.fixture(scope="module")
def given(source, tmp_path_factory):  # noqa: F811
    """Weights, images and classifiers as a reader has them: OpenAI's format, ImageNet's layout, torchvision's files."""
    root = tmp_path_factory.mktemp("imagenet")
    torch.save(source, root / "adm.pt")
    with safe_open(GOLDEN, framework="pt") as file:
        (root / "adm.json").write_text(json.dumps(json.loads(file.metadata()["about"])["flags"]))
    folder_of_classes(root / "val", n=4, size=(40, 36))
    words = []
    for seed in range(2):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            cnn = classifier.ImageCNN(3, 10, width=4, depth=1)
        models.save(root / f"cnn-{seed}.safetensors", cnn.state_dict(), dict(kind="classifier", network=cnn.config))
        words.append(str(root / f"cnn-{seed}.safetensors"))
    torch.save(torchvision_probe("resnet50", random_seed=0).network.state_dict(), root / "resnet50.pth")
    (root / "resnet50.json").write_text('{"resize": 232, "crop": 224}')  # they are none that torchvision publishes
    words.append(f"resnet50={root / 'resnet50.pth'}")
    return dict(model="adm256", weights=str(root / "adm.pt"), images=str(root / "val"), per_class=2, steps=50), words


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("slug, used", [("an-image-half-way-and-back", slice(0, 1)), ("layer-by-layer", slice(1, 3))])
def test_a_chapter_with_adm_and_a_folder_of_classes(given, slug, used, tmp_path):
    parameters, words = given
    parameters = parameters | dict(classifiers=" ".join(words[used]), keep=str(tmp_path / "turns"))
    parameters |= dict(wide=3) if slug == "layer-by-layer" else {}
    done = execute(prepare(CHAPTERS[slug], parameters, tmp_path / "run", timeout=1200))
    assert done.error is None, f"{done.error}\nthe notebook up to there: {done.notebook}"
    assert len(list((tmp_path / "turns").rglob("*.safetensors"))) == 12, "one file for each time: a run can go on"
    outputs = [o for cell in json.loads(done.notebook.read_text("utf-8"))["cells"] for o in cell.get("outputs", [])]
    glued = [str(text) for o in outputs for kind, text in o.get("data", {}).items() if "text/plain" in kind]
    assert any("ADM 32, unconditional" in text for text in glued), "it says what it shows"
    if slug == "layer-by-layer":  # its sentences stand as they were written, so it says of what
        assert any("This run has other models, images or U-turns: ADM 32, unconditional" in text for text in glued)
    assert not any("On Fashion-MNIST" in text for text in glued)
    records = done.folder / "records.json"
    named = [row["id"] for row in json.loads(records.read_text("utf-8"))] if records.exists() else []
    assert set(named) <= {"quoted-top5", "mixture-does-not-invert"}, "the ledger's rows on images are of Fashion-MNIST"


def test_random_weights_are_not_drawn(given):
    from hierlib.images.experiment import experiment

    parameters, words = given
    with pytest.raises(ValueError, match="expected trained ones, got resnet50, random weights, which are for tests"):
        experiment(**parameters, profile="full", classifiers=f"{words[0]} resnet50=random", keep="", seed=0)
