"""A causal transformer: it sees nothing ahead, learns, resumes, is stored safely."""

from dataclasses import replace

import pytest
import torch

from hierlib.language import block_reader
from hierlib.networks.language_model import TESTED, LanguageModel, LanguageTraining, train_language_model
from tests.browser import ROOT
from tests.killed import Killed, killed_at
from tests.pretend_cuda import pretend_cuda

SMALL = LanguageTraining(
    v=4, m=2, s=2, L=2, width=16, heads=2, depth=2, strings=4096, batch=32, learning_rate=1e-2, checkpoints=3
)


def rng(seed=0):
    return torch.Generator("cpu").manual_seed(seed)


def untrained(training=SMALL):
    net = training.network().reset_parameters(rng()).eval()
    net.readout.weight.data.normal_(generator=rng(1))
    return net


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return train_language_model(SMALL)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])  # torch has a path of its own for the first
@pytest.mark.parametrize("place", [0, 4, 7])
def test_a_leaf_changes_no_answer_before_it_and_not_its_own(mode, place):
    net = untrained(replace(SMALL, L=3))
    leaves = torch.randint(4, (5, 8), generator=rng())
    other = leaves.clone()
    other[:, place] = (other[:, place] + 1) % 4
    with mode():
        a, b = net(leaves), net(other)
    assert a.shape == (5, 8, 4) and torch.equal(a[:, : place + 1], b[:, : place + 1])
    assert (a[:, place + 1 :] != b[:, place + 1 :]).any(2).all(), "every later place hears of it"


def test_leaves_before_the_first_that_is_seen_change_nothing():
    net = untrained(replace(SMALL, L=3))
    leaves = torch.randint(4, (5, 8), generator=rng())
    other = leaves.clone()
    other[:, :3] = (other[:, :3] + 1) % 4
    a, b = net(leaves, 3), net(other, 3)
    assert torch.equal(a, b) and not torch.equal(net(leaves), a)
    other[:, 3] = (other[:, 3] + 1) % 4
    assert (net(other, 3)[:, 4:] != a[:, 4:]).any(2).all(), "the first that is seen is seen"
    each = net(leaves, torch.tensor([0, 3, 8, 1, 5]))
    torch.testing.assert_close(each[1], a[1])
    torch.testing.assert_close(each[0], net(leaves)[0])


def test_it_starts_at_equal_probabilities_and_refuses_other_shapes():
    net = SMALL.network().reset_parameters(rng())
    leaves = torch.zeros(2, 4, dtype=torch.int64)
    torch.testing.assert_close(net.log_probabilities(leaves).exp(), torch.full((2, 4, 4), 0.25))
    for bad in (leaves[:, :3], leaves[0]):
        with pytest.raises(ValueError, match=r"leaves: expected shape \(n, 4\)"):
            net(bad)


@pytest.mark.parametrize(
    "bad, why",
    [
        (dict(strings=4000), "strings: expected a multiple of 512"),
        (dict(strings=0), "strings: expected a multiple of 512"),
        (dict(windows=1.5), "windows: expected a share"),
        (dict(windows=float("nan")), "windows: expected a share"),
        (dict(checkpoints=0), "checkpoints: expected at least 1"),
        (dict(seed=-1), "seed: expected"),
    ],
)
def test_bad_trainings_are_refused(bad, why):
    with pytest.raises(ValueError, match=why):
        replace(SMALL, **bad)
    with pytest.raises(ValueError, match="width: expected a multiple of 3 heads, got 16"):
        replace(SMALL, heads=3).network()


def test_it_learns_and_never_beats_exact_inference(trained):
    history = trained.history
    assert [entry["strings"] for entry in history] == [256, 1024, 4096] == list(trained.networks)
    tests = [entry["test"] for entry in history]
    assert tests[0] > tests[1] > tests[2] > trained.exact - 0.01
    assert tests[2] < trained.exact + 0.5 * (torch.tensor(4.0).log() - trained.exact)
    assert trained.training.test_data(1000).shape == (1000, 4)


@pytest.mark.slow
@pytest.mark.parametrize("at", [96, 1024])
def test_training_resumed_after_a_kill_is_the_same_training(trained, tmp_path, at):
    checkpoint = tmp_path / "x.part"
    with pytest.raises(Killed):
        train_language_model(SMALL, checkpoint=checkpoint, every=0, report=killed_at(at))
    shown = []
    again = train_language_model(SMALL, checkpoint=checkpoint, report=lambda n, _: shown.append(n))
    assert shown[0] == at and again.history == trained.history
    for strings, net in trained.networks.items():
        for a, b in zip(net.parameters(), again.networks[strings].parameters(), strict=True):
            assert torch.equal(a, b)
    with pytest.raises(ValueError, match=r"training\.m 1, got one of training\.m 2"):
        train_language_model(replace(SMALL, m=1), checkpoint=checkpoint)
    assert train_language_model(SMALL, checkpoint=tmp_path / "new", minutes=0) is None


def test_saved_and_loaded_is_the_same(trained, tmp_path):
    trained.save(tmp_path / "lm.safetensors", torch.float32)
    model, g = LanguageModel.load(tmp_path / "lm.safetensors")
    assert (model.training, model.history, model.exact) == (trained.training, trained.history, trained.exact)
    leaves = SMALL.test_data(20)
    for strings, net in trained.networks.items():
        assert torch.equal(net(leaves), model.networks[strings](leaves))
    assert all(torch.equal(a, b) for a, b in zip(g.rules, SMALL.grammar().rules, strict=True))
    trained.save(tmp_path / "half.safetensors")
    half = LanguageModel.load(tmp_path / "half.safetensors")[0].networks[4096]
    torch.testing.assert_close(half(leaves), trained.networks[4096](leaves), rtol=0.02, atol=0.05)
    cut = (tmp_path / "half.safetensors").read_bytes()[:-100]
    (tmp_path / "cut").write_bytes(cut)
    (tmp_path / "empty").write_bytes(b"")
    for name in ("cut", "empty"):
        with pytest.raises(ValueError, match="expected a safetensors file"):
            LanguageModel.load(tmp_path / name)


def test_weights_that_are_not_finite_or_not_there_are_refused(trained, tmp_path):
    other = LanguageModel(SMALL, {k: untrained() for k in SMALL.clock()}, trained.history, trained.exact)
    other.networks[1024].readout.bias.data[0] = torch.nan
    other.save(tmp_path / "nan.safetensors")
    with pytest.raises(ValueError, match=r"net\.1024\.readout\.bias"):
        LanguageModel.load(tmp_path / "nan.safetensors")
    del other.networks[1024]
    other.save(tmp_path / "few.safetensors")
    with pytest.raises(ValueError, match=r"expected a model written by LanguageModel\.save"):
        LanguageModel.load(tmp_path / "few.safetensors")


def test_it_trains_on_the_pretended_gpu():
    tiny = replace(SMALL, strings=512)
    here = train_language_model(tiny)
    with pretend_cuda():
        there = train_language_model(tiny)
    for a, b in zip(here.history, there.history, strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    assert {w.device.type for net in there.networks.values() for w in net.parameters()} == {"cpu"}


@pytest.mark.parametrize("seed", range(3))
def test_the_models_of_the_book_are_those_of_the_command(seed):
    model, g = LanguageModel.load(ROOT / "book" / "_models" / "language-models" / f"lm-{seed}.safetensors")
    assert model.training == LanguageTraining(seed=seed)
    assert all(torch.equal(a, b) for a, b in zip(g.rules, model.training.grammar().rules, strict=True))
    x = model.training.test_data(TESTED)
    exact = -block_reader(g, x, g.L).gather(2, x[..., None]).log().mean()
    assert model.exact == pytest.approx(float(exact), abs=1e-12)
    strings, net = list(model.networks.items())[-1]
    loss = -float(net.log_probabilities(x[:200]).gather(2, x[:200, :, None]).mean())
    assert strings == model.history[-1]["strings"] == 131_072
    assert loss == pytest.approx(model.history[-1]["test"], abs=0.05), "half precision and fewer strings"
