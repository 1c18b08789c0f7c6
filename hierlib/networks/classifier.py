"""A convolutional network that matches the tree, and its training to tell the class (section 5, figure 8)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hierlib._devices import chosen
from hierlib._finite import all_finite, float32
from hierlib._seeds import checked
from hierlib._storage import on_cpu, read_tensors, write_tensors
from hierlib.grammar import Grammar, random_grammar
from hierlib.networks.fit import Report, State, optimise
from hierlib.sampling import sample


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
            for layer in linear_maps(self.layers):
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
        for layer in linear_maps(self.layers):
            h = torch.relu(layer(h.reshape(len(h), -1, layer.in_features)))
            out.append(h)
        return out


def linear_maps(layers: Iterable[nn.Module]) -> list[nn.Linear]:
    """Those modules that are linear maps: what torch knows of the members of a list is that they are modules."""
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


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
        seed: weights and order of the data. Seeds are 0 to 2**32 - 1.

    Raises:
        ValueError: a seed is none.
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

    def __post_init__(self) -> None:
        for name in ("grammar_seed", "data_seed", "seed"):
            checked(getattr(self, name), name)


class Classifier:
    """A trained network with its grammar and the record of its training; kept in one safetensors file."""

    def __init__(self, g: Grammar, net: TreeCNN, training: Training, history: list[dict]):
        self.g, self.net, self.training, self.history = g, net, training, history

    def save(self, path: Path, dtype: torch.dtype = torch.float32) -> None:
        """Write the file (under a temporary name first); dtype float16 halves it."""
        tensors = {f"net.{k}": x for k, x in on_cpu(self.net.state_dict(), dtype).items()}
        tensors |= {f"rules.{l}": rule.to("cpu", torch.int32) for l, rule in enumerate(self.g.rules)}
        tensors |= {f"weights.{l}": weight.cpu() for l, weight in enumerate(self.g.weights or ())}
        tensors |= {} if self.g.class_prior is None else {"class_prior": self.g.class_prior.cpu()}
        about = dict(num_classes=self.g.num_classes, training=asdict(self.training), history=self.history)
        write_tensors(path, tensors, about)

    @classmethod
    def load(cls, path: Path) -> Classifier:
        """Read a file written by `save`.

        Raises:
            ValueError: the file is not of this kind, or a weight is no float or not finite.
        """
        tensors, about = read_tensors(path)
        try:
            rules = tuple(tensors[f"rules.{l}"].long() for l in range(sum(k.startswith("rules.") for k in tensors)))
            v = int(rules[0].shape[0]) if len(rules) > 1 else int(rules[0].max()) + 1
            _, m, s = rules[0].shape
            uneven = tuple(tensors[f"weights.{l}"] for l in range(sum(k.startswith("weights.") for k in tensors)))
            g = Grammar(v, m, s, len(rules), about["num_classes"], rules, uneven or None, tensors.get("class_prior"))
            training = Training(**about["training"])
            net = TreeCNN(v, s, g.L, training.width, g.num_classes)
            weights = {k[4:]: float32(x, f"{path}: weight {k[4:]}") for k, x in tensors.items() if k.startswith("net.")}
            net.load_state_dict(weights)
        except (KeyError, IndexError, TypeError, RuntimeError) as error:
            raise ValueError(f"{path}: expected a classifier written by Classifier.save, got {error}") from error
        all_finite({f"{path}: weight {k}": x for k, x in net.state_dict().items()}, "train it again")
        return cls(g, net.eval(), training, about["history"])


def train_classifier(
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    training: Training,
    checkpoint: Path | None = None,
    minutes: float = math.inf,
    every: float = 120.0,
    report: Report | None = None,
) -> Classifier | None:
    """Train a `TreeCNN` on data of a drawn grammar until it fits all of them, testing on fresh data.

    Args:
        v, m, s, L: of the grammar.
        training: see `Training`.
        checkpoint, minutes, every: as for `hierlib.networks.fit.optimise`.
        report: called with the number of data shown and a note as training goes on.

    Returns:
        A `Classifier`, whose history has loss, train and test accuracy after each pass; None if the minutes ran out.

    Raises:
        ValueError: a parameter is out of range, the checkpoint belongs to another training, or the loss is not finite;
            the step is named, and the checkpoint holds the pass before.
    """
    device = chosen()
    rng = torch.Generator().manual_seed(training.grammar_seed)
    g = random_grammar(v=v, m=m, s=s, L=L, generator=rng)
    rng.manual_seed(training.data_seed)
    data = _labelled(g, training.num_data, rng)
    test = [z.to(device) for z in _labelled(g, 10_000, rng)]
    x, y = (z.to(device) for z in data)
    rng.manual_seed(training.seed)
    net = TreeCNN(v, s, L, training.width, g.num_classes).reset_parameters(rng).to(device)
    per_pass = -(-len(x) // training.batch)
    state = State(dict(history=[]), dict(total=torch.zeros((), dtype=torch.float32, device=device)), rng)

    def loss(step: int) -> Tensor:
        if step % per_pass == 0:
            state.tensors["order"] = torch.randperm(len(x), generator=rng, device="cpu").to(device)
        part = _part(step)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = net(x[part].long())
        return nn.functional.cross_entropy(logits.float(), y[part])

    def _part(step: int) -> Tensor:
        i = step % per_pass * training.batch
        return state.tensors["order"][i : i + training.batch]

    def after(step: int, value: Tensor) -> bool:
        """Adds up the loss, and after a pass looks how good the network is."""
        state.tensors["total"] += value * len(_part(step - 1))
        if step % per_pass:
            return False
        done = dict(train=_accuracy(net, x, y), test=_accuracy(net, *test))
        state.facts["history"].append(dict(loss=float(state.tensors["total"]) / len(x), **done))
        state.tensors["total"].zero_()
        state.note = "pass {}: train {train:.4f}, test {test:.4f}".format(len(state.facts["history"]), **done)
        return done["train"] >= training.interpolation

    ended = optimise(
        net,
        torch.optim.Adam(net.parameters(), lr=training.learning_rate, fused=True),
        loss,
        steps=per_pass * training.max_epochs,
        state=state,
        after=after,
        checkpoint=checkpoint,
        identity=dict(v=v, m=m, s=s, L=L, training=asdict(training)),
        minutes=minutes,
        every=every,
        report=None if report is None else lambda step, note: report(step * training.batch, note),
    )
    return Classifier(g, net.cpu(), training, state.facts["history"]) if ended else None


@torch.no_grad()
def _accuracy(net: TreeCNN, x: Tensor, y: Tensor) -> float:
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        right = sum(int((net(a.long()).argmax(1) == b).sum()) for a, b in zip(x.split(1000), y.split(1000)))
    return right / len(x)


def _labelled(g: Grammar, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    data = sample(g, n, generator=rng)
    return data[0].to(torch.int16), data[-1][:, 0]
