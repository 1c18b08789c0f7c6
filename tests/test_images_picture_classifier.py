"""The classifiers of pictures made of parts: blocks, a training that goes on after a stop, files that load."""

import json
import math

import pytest
import torch
import typer

from hierlib.images import picture_classifier as pc
from hierlib.images import train
from hierlib.images.picture_layers import untrained
from hierlib.images.pictures import draw
from hierlib.networks.fit import Schedule
from tests.images import rng

SMALL = pc.PictureData(v=4, m=2, L=1, p=4)


def test_blocks_stand_at_the_sides_that_are_said():
    network, sides = pc.PictureCNN(32, 12), []
    for block in network.blocks:
        block.register_forward_hook(lambda _, __, out: sides.append(tuple(out.shape[1:3])))
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 12)
    assert sides == [(16, 16), (32, 8), (64, 8), (64, 4), (128, 4), (128, 2), (128, 2), (128, 1)]
    assert [*network.nodes.values()][-2:] == ["block 8", "logits"]
    assert sum(w.numel() for w in network.parameters()) * 2 < 1.2e6


@pytest.mark.parametrize("side", [2, 12, 0])
def test_other_sides_are_refused(side):
    with pytest.raises(ValueError, match="power of 2"):
        pc.PictureCNN(side, 12)


def test_what_is_drawn_has_a_digest_of_its_own():
    assert SMALL.digest() == pc.PictureData(v=4, m=2, L=1, p=4).digest()
    assert SMALL.digest() != pc.PictureData(v=4, m=2, L=1, p=4, grammar=1).digest()
    assert pc.PictureData().side == 32


def test_a_small_one_learns():
    network = pc.PictureCNN(SMALL.side, SMALL.v, 8)
    loss = pc.fresh_loss(network, SMALL, 64)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-2)
    losses = []
    for step in range(60):
        value = loss(torch.arange(64), rng(step))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(value.item())
    assert losses[-1] < 0.2 < 1 < losses[0]
    assert pc.accuracy(network.eval(), SMALL, 200, generator=rng(1)) > 0.95


def run(ctx, out, minutes=math.inf):
    train.pictures(ctx, out, grammar=1, width=4, minutes=minutes)


@pytest.fixture
def ctx(monkeypatch):
    monkeypatch.setattr(train, "PICTURES", Schedule(96, batch=16, warmup=2))
    monkeypatch.setattr(train, "spelled", lambda ctx: "the command")
    monkeypatch.setattr(train, "accuracy", lambda *_, **__: 1.0)


def test_a_training_that_runs_out_of_time_goes_on_and_its_files_load(ctx, tmp_path):
    whole, parts = tmp_path / "a" / "one.safetensors", tmp_path / "b" / "one.safetensors"
    for path in (whole, parts):
        path.parent.mkdir()
    run(ctx, whole)
    with pytest.raises(typer.Exit):
        run(ctx, parts, minutes=0)
    run(ctx, parts)
    assert whole.read_bytes() == parts.read_bytes()
    probe, data = pc.load_picture_classifier(whole)
    assert data == pc.PictureData(grammar=1) and probe.layers[0] == "block 1"
    pictures = draw(data.alphabet, torch.zeros(2, 64, dtype=torch.int64))
    assert probe(pictures)["logits"].shape == (2, 12)
    assert not torch.equal(untrained(probe, data, generator=rng(0))(pictures)["logits"], probe(pictures)["logits"])


def test_weights_of_other_rules_are_refused(ctx, tmp_path):
    run(ctx, path := tmp_path / "one.safetensors")
    about = path.with_suffix(".json")
    about.write_text(json.dumps(json.loads(about.read_text()) | {"pictures": {"grammar": 2}}))
    with pytest.raises(ValueError, match="other rules"):
        pc.load_picture_classifier(path)
