"""Networks that learn to denoise: they start as a single leaf, learn, resume, and never beat the exact denoiser."""

from dataclasses import replace

import pytest
import torch

from hierlib.networks.denoiser import DenoiserTraining, TrainedDenoiser, TreeUNet, train_denoiser
from hierlib.networks.generation import Masking, found_in, generate
from tests.killed import Killed, killed_at

SMALL = DenoiserTraining(v=4, m=2, s=2, L=2, num_data=64, width=24, batch=64, steps=150, checks=5)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return {name: train_denoiser(replace(SMALL, process=name)) for name in ("mask", "gaussian")}


def test_the_network_starts_as_the_single_leaf_and_mirrors_the_tree():
    net = TreeUNet(v=3, s=3, L=2, width=8).reset_parameters(rng())
    evidence = torch.rand(5, 9, 3, generator=rng())
    evidence = evidence / evidence.sum(-1, keepdim=True)
    torch.testing.assert_close(net.marginals(evidence), evidence)
    with torch.no_grad():
        net.readout.weight.normal_(generator=rng())
    other = evidence.clone()
    other[:, 8] = 1 / 3
    assert (net(other) != net(evidence)).any(-1).all(), "every leaf hears of every other"
    with pytest.raises(ValueError, match=r"expected shape \(n, 9, 3\)"):
        net(evidence[:, :8])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mask", "gaussian"])
def test_it_learns_and_never_beats_the_exact_denoiser(trained, name):
    done = trained[name]
    history = done.history
    assert history[-1]["step"] == SMALL.steps and len(history) == SMALL.checks
    assert history[-1]["loss"] < history[0]["loss"]
    blind = train_denoiser(replace(SMALL, process=name, steps=1, checks=1, learning_rate=0.0))
    lowest = min(h["validation"] for h in history)
    assert done.exact < lowest < done.exact + 0.5 * (blind.history[0]["validation"] - done.exact)


@pytest.mark.slow
@pytest.mark.parametrize("name, at", [("mask", 3), ("mask", 87), ("gaussian", 150)])
def test_training_resumed_after_a_kill_is_the_same_training(trained, tmp_path, name, at):
    training, checkpoint = replace(SMALL, process=name), tmp_path / "x.part"
    with pytest.raises(Killed):
        train_denoiser(training, checkpoint=checkpoint, every=0, report=killed_at(at))
    shown = []
    again = train_denoiser(training, checkpoint=checkpoint, report=lambda n, _: shown.append(n))
    assert shown[0] == at and again.history == trained[name].history and again.exact == trained[name].exact
    for a, b in ((again.best, trained[name].best), (again.last, trained[name].last)):
        assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    with pytest.raises(ValueError, match=r"training\.m 1, got one of training\.m 2"):
        train_denoiser(replace(training, m=1), checkpoint=checkpoint)
    assert train_denoiser(training, checkpoint=tmp_path / "new", minutes=0) is None


@pytest.mark.slow
def test_few_data_are_memorised_in_the_end_and_not_at_the_best_checkpoint():
    done = train_denoiser(replace(SMALL, L=3, num_data=8, width=48, steps=500, checks=25))
    data, how = done.training.data(), Masking(4)
    copied = [
        found_in(generate(net.marginals, how, 300, 8, generator=rng()), data).double().mean()
        for net in (done.best, done.last)
    ]
    assert copied[1] > 0.7 > copied[0] + 0.3


def test_saved_and_loaded_is_the_same_denoiser(trained, tmp_path):
    done = trained["mask"]
    done.save(tmp_path / "net.safetensors", torch.float32)
    training, g, net = TrainedDenoiser.load(tmp_path / "net.safetensors")
    evidence = torch.full((1, 4, 4), 0.25)
    assert training == done.training and torch.equal(net(evidence), done.best(evidence))
    assert all(torch.equal(a, b) for a, b in zip(g.rules, training.grammar().rules, strict=True))
    (tmp_path / "bad").write_bytes(b"")
    with pytest.raises(ValueError, match="expected a safetensors file"):
        TrainedDenoiser.load(tmp_path / "bad")
