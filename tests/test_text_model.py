"""The models of text: bad input, and the ones that come with the book."""

import hashlib

import numpy as np
import pytest
import torch
import xarray as xr

from hierlib.text import measure
from hierlib.text.bound import bound
from hierlib.text.corpus import Vocabulary
from hierlib.text.model import MaskedModel, Size, TextModel
from hierlib.text.uturn import chances, uturn
from tests.texts import MODELS, SMALL, rng


@pytest.mark.parametrize(
    "call, why",
    [
        (lambda: Vocabulary(("a", "b", "c", "d")), "words: expected"),
        (lambda: Vocabulary.of("abcd", 9).decode([9]), "tokens: expected 0…5, got 9…9"),
        (lambda: Size(9, 8, width=10, heads=4), "multiple of 4 heads"),
        (lambda: Size(9, 8, blocks=0), "blocks: expected at least 1"),
        (lambda: MaskedModel(Size(9, 8, **SMALL)).hidden(torch.ones(1, 9, dtype=torch.int64)), "1 to 8 words"),
        (lambda: TextModel.load("/nowhere"), "got nothing there"),
        (lambda: chances(torch.ones(2, 3), 1, [0]), "a seed for each of 2 starts"),
        (lambda: turned(t=1.5), "t: expected a probability"),
        (lambda: turned(steps=0), "steps and batch of at least 1"),
        (lambda: turned(x0=torch.zeros(2, 3, dtype=torch.int64)), "x0: expected words only"),
        (lambda: turned(uniform=torch.rand(2, 4, 3, 5)), r"uniform: expected shape \(2, samples, 3, 3\)"),
        (lambda: measure.covariance(torch.ones(2, 1, 3), torch.ones(2, 3)), "at least 2 samples"),
        (lambda: measure.reach(np.ones(4), 1.0), "height: expected between 0 and 1"),
    ],
)
def test_bad_input(call, why):
    with pytest.raises(ValueError, match=why):
        call()


def turned(**change):
    x0 = torch.full((2, 3), 2)
    given = dict(denoiser=None, x0=x0, t=0.5, uniform=chances(x0, 4, [0, 1])) | change
    return uturn(**given)


@pytest.mark.slow
@pytest.mark.parametrize("end, best, worst", [("", 3.7, 4.2), ("-shuffled", 5.0, 5.5)])
def test_the_models_on_disk(end, best, worst):
    path = MODELS / f"kjv{end}.safetensors"
    model, card = TextModel.load(path), (MODELS / "README.md").read_text("utf-8")
    assert path.stat().st_size <= 4e6
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] in card
    assert f"{model.about['validation']:.3f}" in card and best < model.about["validation"] < worst
    with xr.open_dataset(MODELS / f"uturns{end}.nc") as found:
        assert found.attrs["model_sha256"] == model.about["sha256"]
        x = torch.from_numpy(found.start.values.astype(np.int64))
    with torch.no_grad():  # float16 loses nothing, and the windows are those of the validation
        loss = torch.stack([bound(model.network, x, rng(i)) for i in range(4)]).mean(0)
    assert abs(float(loss.mean()) - model.about["validation"]) < 4 * float(loss.std()) / len(x) ** 0.5
