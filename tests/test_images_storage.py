"""What a run leaves is read as it was written, and served for its own inputs only; another file is named."""

import json

import netCDF4
import pytest
import torch

from hierlib._storage import BYTES
from hierlib.images import models, storage
from hierlib.images.probe import LayerSimilarity
from hierlib.images.sampler import UTurns
from tests import images as small

INPUTS = dict(steps=4, seed=0, matched=False, truncate=False)


@pytest.fixture
def model(tmp_path):
    return models.load_small(small.denoiser(tmp_path / "model.safetensors"))


def turns(n=3, k=(1, 3)):
    start = torch.randint(256, (n, 1, 4, 4), generator=small.rng(), dtype=torch.uint8)
    return [UTurns(j, 0, start, torch.randint(256, start.shape, generator=small.rng(j), dtype=torch.uint8)) for j in k]


def test_batches_are_gathered_by_time_and_in_order():
    whole = turns(4)
    parts = [UTurns(u.k, i, u.start[i : i + 2], u.end[i : i + 2]) for u in whole for i in (2, 0)]
    for got, expected in zip(storage.gathered(parts), whole, strict=True):
        assert got.k == expected.k and torch.equal(got.start, expected.start) and torch.equal(got.end, expected.end)


@pytest.mark.slow
def test_uturns_are_served_for_their_own_inputs_only(model, tmp_path):
    path, made, digest = tmp_path / "u.nc", turns(), "of the images"
    inputs = storage.inputs_of(model, digest, [1, 3], **INPUTS)
    storage.save_uturns(path, made, dict(inputs=inputs, command="here"))
    again = storage.stored_uturns(path, inputs)
    assert torch.equal(again[1].end, made[1].end) and torch.equal(again[0].start, made[0].start)
    changes = (dict(steps=5), dict(seed=1), dict(matched=True), dict(truncate=True))
    others = [storage.inputs_of(model, digest, [1, 3], **INPUTS | change) for change in changes]
    others += [storage.inputs_of(model, "of others", [1, 3], **INPUTS), storage.inputs_of(model, digest, [1], **INPUTS)]
    halved = models.load_small(tmp_path / "model.safetensors").to(dtype=torch.float16)
    unlike = [models.load_small(small.denoiser(tmp_path / "b.safetensors", seed=1)), halved]
    about = json.loads((tmp_path / "model.json").read_text())
    about["scheduler"]["beta_end"] = 0.01
    (tmp_path / "model.json").write_text(json.dumps(about))
    unlike.append(models.load_small(tmp_path / "model.safetensors"))  # equal weights, another schedule
    others += [storage.inputs_of(other, digest, [1, 3], **INPUTS) for other in unlike]
    assert all(storage.stored_uturns(path, other) is None for other in others) and len(others) == 9
    storage.save_uturns(path, made, dict(command="here"))
    assert storage.stored_uturns(path, inputs) is None, "a file that does not say what made it is not served"
    assert storage.stored_uturns(tmp_path / "none.nc", inputs) is None


def test_white_pixels_are_no_missing_ones(tmp_path):
    path, made = tmp_path / "u.nc", turns()
    made[0].end[:] = 255
    storage.save_uturns(path, made, {})
    assert torch.equal(storage.load_uturns(path)[0][0].end, made[0].end)
    with netCDF4.Dataset(path) as file:
        assert file["end"].reading == BYTES
        file.set_auto_mask(False)
        assert (file["end"][0] == 255).all()


def test_layers_come_back(tmp_path):
    def alike(n, seed):
        return LayerSimilarity(["a", "b"], torch.rand(n, 2, generator=small.rng(seed)).double(), torch.ones(n) > 0)

    found = {k: alike(3, k) for k in (1, 3)}
    storage.save_layers(tmp_path / "x.safetensors", found, alike(5, 9), dict(probe="x"))
    again, unrelated, about = storage.load_layers(tmp_path / "x.safetensors")
    assert list(again) == [1, 3] and about["probe"] == "x" and unrelated.cosine.shape == (5, 2)
    torch.testing.assert_close(again[3].cosine, found[3].cosine, rtol=0, atol=1e-7)
    small.cnn(tmp_path / "cnn.safetensors")
    with pytest.raises(ValueError, match="expected a safetensors file of this library"):
        storage.load_layers(tmp_path / "cnn.safetensors")


@pytest.mark.parametrize("content", [None, b"", b"CDF", b"\x89HDF\r\n\x1a\n"])
def test_a_file_that_is_none(tmp_path, content):
    path = tmp_path / "ends.nc"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="expected a file of `hierlib images run --ends`"):
        storage.load_uturns(path)
