"""A convolutional network that matches the tree, and its training to tell the class (section 5, figure 8)."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from hierlib.grammar import Grammar, random_grammar, sample


class TreeCNN(nn.Module):
    """A CNN with one layer a level: filters of size s and stride s, so that a unit sees one subtree.

    Layer k (1…L) has s^(L-k) positions; position i sees the leaves below node i of level k. The class is read off
    the last layer linearly. He initialisation; readout small, so that training starts from flat logits.

    Args:
        v, s, L: of the grammar.
        width: channels of every layer.
        num_classes: number of logits.
    """

    def __init__(self, v: int, s: int, L: int, width: int, num_classes: int):
        super().__init__()
        self.v, self.s, self.L, self.width, self.num_classes = v, s, L, width, num_classes
        # a convolution whose stride is its size is a linear map of each block of s children, which is faster
        self.layers = nn.ModuleList(nn.Linear(s * (v if k == 0 else width), width, device="cpu") for k in range(L))
        self.readout = nn.Linear(width, num_classes, device="cpu")
        self.float()  # whatever torch's default is

    def reset_parameters(self, generator: torch.Generator) -> TreeCNN:
        """Draw all weights afresh from a generator; returns the network."""
        with torch.no_grad():
            for layer in self.layers:
                layer.weight.normal_(0, math.sqrt(2 / layer.in_features), generator=generator)
                layer.bias.zero_()
            self.readout.weight.normal_(0, 1 / self.width, generator=generator)
            self.readout.bias.zero_()
        return self

    def forward(self, leaves: Tensor) -> Tensor:
        """Logits, (n, num_classes), of leaves (n, s^L) int64."""
        return self.readout(self._layers(leaves)[-1][:, 0])

    def activations(self, leaves: Tensor) -> dict[str, Tensor]:
        """Post-activations "layer 1" … "layer L" as (n, width, positions), and "logits" (n, num_classes)."""
        hidden = self._layers(leaves)
        named = {f"layer {k}": h.transpose(1, 2) for k, h in enumerate(hidden, start=1)}
        return named | {"logits": self.readout(hidden[-1][:, 0])}

    def _layers(self, leaves: Tensor) -> list[Tensor]:
        if leaves.ndim != 2 or leaves.shape[1] != self.s**self.L:
            raise ValueError(f"leaves: expected shape (n, {self.s**self.L}), got {tuple(leaves.shape)}")
        h, out = nn.functional.one_hot(leaves, self.v).to(self.readout.weight.dtype), []
        for layer in self.layers:
            h = torch.relu(layer(h.reshape(len(h), -1, layer.in_features)))
            out.append(h)
        return out


@dataclass(frozen=True)
class Training:
    """How a classifier is trained; with the seeds it determines the weights up to the machine's arithmetic.

    Attributes:
        num_data: size of the training set.
        width: channels of the network.
        learning_rate, batch: of Adam.
        interpolation: training accuracy at which it stops, after a whole pass.
        max_epochs: passes over the training set after which it gives up.
        grammar_seed: draws the rules.
        data_seed: draws training and test set.
        seed: weights and order of the data.
    """

    num_data: int = 300_000
    width: int = 128
    learning_rate: float = 3e-4
    batch: int = 128
    interpolation: float = 0.9999
    max_epochs: int = 30
    grammar_seed: int = 0
    data_seed: int = 1
    seed: int = 2


class Classifier:
    """A trained network with its grammar and the record of its training; kept in one safetensors file."""

    def __init__(self, g: Grammar, net: TreeCNN, training: Training, history: list[dict]):
        self.g, self.net, self.training, self.history = g, net, training, history

    def save(self, path: Path, dtype: torch.dtype = torch.float32) -> None:
        """Write the file (under a temporary name first); dtype float16 halves it."""
        tensors = {f"net.{k}": x.to(dtype).contiguous() for k, x in self.net.state_dict().items()}
        tensors |= {f"rules.{l}": rule.to(torch.int32) for l, rule in enumerate(self.g.rules)}
        about = dict(num_classes=self.g.num_classes, training=asdict(self.training), history=self.history)
        _write(path, tensors, about)

    @classmethod
    def load(cls, path: Path) -> Classifier:
        """Read a file written by `save`.

        Raises:
            ValueError: the file is not of this kind.
        """
        tensors, about = _read(path)
        try:
            rules = tuple(tensors[f"rules.{l}"].long() for l in range(sum(k.startswith("rules.") for k in tensors)))
            v = int(rules[0].shape[0]) if len(rules) > 1 else int(rules[0].max()) + 1
            _, m, s = rules[0].shape
            g = Grammar(v, m, s, len(rules), about["num_classes"], rules)
            training = Training(**about["training"])
            net = TreeCNN(v, s, g.L, training.width, g.num_classes)
            net.load_state_dict({k[4:]: x.float() for k, x in tensors.items() if k.startswith("net.")})
        except (KeyError, IndexError, TypeError, RuntimeError) as error:
            raise ValueError(f"{path}: expected a classifier written by Classifier.save, got {error}") from error
        return cls(g, net.eval(), training, about["history"])


def train_classifier(
    *, v: int, m: int, s: int, L: int, training: Training, checkpoint: Path | None = None, report=None
) -> Classifier:
    """Train a `TreeCNN` on data of a drawn grammar until it fits all of them, testing on fresh data.

    Args:
        v, m, s, L: of the grammar.
        training: see `Training`.
        checkpoint: file that is written after each pass and from which a killed run goes on, losing one pass at most.
        report: called with a dict (epoch, fraction of the pass, loss, train accuracy, …) as training goes on.

    Returns:
        A `Classifier`; its history has loss, train and test accuracy after each pass.

    Raises:
        ValueError: a parameter is out of range, or the checkpoint belongs to another training.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rng = torch.Generator().manual_seed(training.grammar_seed)
    g = random_grammar(v=v, m=m, s=s, L=L, generator=rng)
    rng.manual_seed(training.data_seed)
    x, y = _labelled(g, training.num_data, rng)
    x_test, y_test = _labelled(g, 10_000, rng)
    rng.manual_seed(training.seed)
    net = TreeCNN(v, s, L, training.width, g.num_classes).reset_parameters(rng).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=training.learning_rate, fused=True)
    history: list[dict] = []
    if checkpoint is not None and checkpoint.exists():
        history = _resume(checkpoint, training, net, optimizer, rng)
    x, y, x_test, y_test = (z.to(device) for z in (x, y, x_test, y_test))
    while len(history) < training.max_epochs and not (history and history[-1]["train"] >= training.interpolation):
        loss = _one_pass(net, optimizer, x, y, training.batch, rng, report, len(history) + 1)
        history.append(dict(loss=loss, train=_accuracy(net, x, y), test=_accuracy(net, x_test, y_test)))
        if report is not None:
            report(dict(epoch=len(history), fraction=1.0, **history[-1]))
        if checkpoint is not None:
            _write_checkpoint(checkpoint, training, net, optimizer, rng, history)
    return Classifier(g, net.cpu().eval(), training, history)


def _one_pass(net, optimizer, x, y, batch, rng, report, epoch) -> float:
    net.train()
    order, total = torch.randperm(len(x), generator=rng, device="cpu").to(x.device), 0.0
    for i in range(0, len(x), batch):
        part = order[i : i + batch]
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            logits = net(x[part].long())
        loss = nn.functional.cross_entropy(logits.float(), y[part])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(part)
        if report is not None and i // batch % 20 == 0:
            report(dict(epoch=epoch, fraction=i / len(x), loss=float(loss.detach())))
    return float(total) / len(x)


@torch.no_grad()
def _accuracy(net: TreeCNN, x: Tensor, y: Tensor) -> float:
    net.eval()
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        right = sum(int((net(a.long()).argmax(1) == b).sum()) for a, b in zip(x.split(1000), y.split(1000)))
    return right / len(x)


def _labelled(g: Grammar, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    data = sample(g, n, generator=rng)
    return data[0].to(torch.int16), data[-1][:, 0]


def _write_checkpoint(path, training, net, optimizer, rng, history) -> None:
    state = optimizer.state_dict()["state"]
    tensors = {f"net.{k}": p.detach().cpu().contiguous() for k, p in net.state_dict().items()}
    tensors |= {f"adam.{i}.{k}": p.detach().cpu().contiguous() for i, s in state.items() for k, p in s.items()}
    tensors["rng"] = rng.get_state()
    _write(path, tensors, dict(training=asdict(training), history=history))


def _resume(path, training, net, optimizer, rng) -> list[dict]:
    tensors, about = _read(path)
    if about.get("training") != asdict(training):
        raise ValueError(f"{path}: expected a checkpoint of {training}, got {about.get('training')}: move it away")
    net.load_state_dict({k[4:]: x for k, x in tensors.items() if k.startswith("net.")})
    state: dict[int, dict] = {}
    for key, x in tensors.items():
        if key.startswith("adam."):
            _, i, name = key.split(".", 2)
            state.setdefault(int(i), {})[name] = x
    optimizer.load_state_dict(dict(state=state, param_groups=optimizer.state_dict()["param_groups"]))
    rng.set_state(tensors["rng"])
    return about["history"]


def _write(path: Path, tensors: dict[str, Tensor], about: dict) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    safetensors.torch.save_file(tensors, part, metadata={"about": json.dumps(about)})
    os.replace(part, path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict]:
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()  # no dict: it can't be iterated itself
            return {name: file.get_tensor(name) for name in names}, json.loads((file.metadata() or {})["about"])
    except (safetensors.SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: expected a safetensors file of this library, got {error}") from error
