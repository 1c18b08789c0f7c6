"""The network that matches the tree: it learns, resumes, is stored safely."""

from dataclasses import replace

import pytest
import torch

import hierlib as hl
from hierlib.networks.classifier import Classifier, Training, TreeCNN, train_classifier
from tests.killed import Killed, killed_at

SMALL = dict(v=4, m=2, s=2, L=3)
TRAINING = Training(num_data=500, width=32, learning_rate=3e-3, batch=50, max_epochs=40, interpolation=1.0)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return train_classifier(**SMALL, training=TRAINING)


def test_a_unit_sees_one_subtree_and_no_more():
    net = TreeCNN(v=4, s=2, L=3, width=8, num_classes=4).reset_parameters(rng())
    leaves = torch.randint(4, (1, 8), generator=rng())
    other = leaves.clone()
    other[0, 5] = (other[0, 5] + 1) % 4
    a, b = net.activations(leaves), net.activations(other)
    for k in (1, 2, 3):
        changed = (a[f"layer {k}"] != b[f"layer {k}"]).any(1)[0]
        assert changed.nonzero().flatten().tolist() == [5 // 2**k]
    assert a["layer 2"].shape == (1, 8, 2) and a["logits"].shape == (1, 4)
    torch.testing.assert_close(net(leaves), a["logits"])


def test_layers_are_strided_convolutions():
    net = TreeCNN(v=3, s=2, L=2, width=5, num_classes=3).reset_parameters(rng())
    leaves = torch.randint(3, (4, 4), generator=rng())
    one_hot = torch.nn.functional.one_hot(leaves, 3).float().transpose(1, 2)
    kernel = net.layers[0].weight.reshape(5, 2, 3).transpose(1, 2)
    expected = torch.relu(torch.nn.functional.conv1d(one_hot, kernel, net.layers[0].bias, stride=2))
    torch.testing.assert_close(net.activations(leaves)["layer 1"], expected)


@pytest.mark.slow
def test_it_interpolates_and_generalises(trained):
    last = trained.history[-1]
    assert last["train"] == 1 and last["test"] > 0.95
    assert len(trained.history) < TRAINING.max_epochs, "it must stop at interpolation"


@pytest.mark.slow
@pytest.mark.parametrize("at", [90, 1500, 2040])
def test_training_resumed_after_a_kill_is_the_same_training(tmp_path, at):
    """Killed within a pass, after any step."""

    checkpoint = tmp_path / "run.part"
    slow = replace(TRAINING, batch=30, learning_rate=3e-4, max_epochs=5)  # whose last batch of a pass is smaller
    whole = train_classifier(**SMALL, training=slow)
    assert len(whole.history) >= 3
    with pytest.raises(Killed):
        train_classifier(**SMALL, training=slow, checkpoint=checkpoint, every=0, report=killed_at(at))
    shown = []
    again = train_classifier(**SMALL, training=slow, checkpoint=checkpoint, report=lambda n, _: shown.append(n))
    assert shown[0] == at, "one step is lost"
    assert again.history == whole.history
    for a, b in zip(again.net.parameters(), whole.net.parameters(), strict=True):
        assert torch.equal(a, b)
    for other, why in ((dict(SMALL, m=1), "m 1, got one of m 2"), (dict(SMALL, L=2), "L 2, got one of L 3")):
        with pytest.raises(ValueError, match=why):  # the same training of another grammar
            train_classifier(**other, training=slow, checkpoint=checkpoint)
    with pytest.raises(ValueError, match=r"training\.batch 50, got one of training\.batch 30"):
        train_classifier(**SMALL, training=replace(slow, batch=50), checkpoint=checkpoint)
    assert train_classifier(**SMALL, training=slow, checkpoint=tmp_path / "new", minutes=0) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "run.part"]


def test_saved_and_loaded_is_the_same(trained, tmp_path):
    trained.save(tmp_path / "net.safetensors")
    other = Classifier.load(tmp_path / "net.safetensors")
    leaves = hl.sample(trained.g, 20, generator=rng())[0]
    assert torch.equal(trained.net(leaves), other.net(leaves))
    assert other.training == trained.training and other.history == trained.history
    assert all(torch.equal(a, b) for a, b in zip(other.g.rules, trained.g.rules, strict=True))
    trained.save(tmp_path / "half.safetensors", torch.float16)
    half = Classifier.load(tmp_path / "half.safetensors")
    torch.testing.assert_close(half.net(leaves), trained.net(leaves), rtol=0.02, atol=0.02)


def test_a_pickle_or_another_file_is_refused(trained, tmp_path):
    pickle = tmp_path / "weights.pt"
    torch.save({"net": torch.zeros(1)}, pickle)
    (tmp_path / "empty").write_bytes(b"")
    trained.save(tmp_path / "net.safetensors")
    cut = (tmp_path / "net.safetensors").read_bytes()[:-100]
    (tmp_path / "cut").write_bytes(cut)
    for name in ("weights.pt", "empty", "cut"):
        with pytest.raises(ValueError, match="expected a safetensors file"):
            Classifier.load(tmp_path / name)
