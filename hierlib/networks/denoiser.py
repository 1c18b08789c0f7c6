"""Networks that learn to denoise data of a grammar: a U-Net that matches the tree, and its training."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hierlib._devices import chosen
from hierlib._finite import all_finite, float32
from hierlib._seeds import checked, derived
from hierlib._storage import on_cpu, read_tensors, write_tensors
from hierlib.grammar import Grammar, random_grammar
from hierlib.inference import infer
from hierlib.networks.classifier import linear_maps
from hierlib.networks.fit import Report, State, optimise
from hierlib.networks.generation import Process, process
from hierlib.sampling import sample


class TreeUNet(nn.Module):
    """A U-Net with one layer a level each way, whose units stand at the nodes of the tree.

    On the way up a node sees its s children, as in `hierlib.networks.classifier.TreeCNN`; on the way down it
    tells each child what it has from above and, over the skip connection, from that child and its siblings. This
    is the flow of belief propagation's messages, and of the authors' U-Net for the same data. What goes in is evidence,
    so one network serves any noise and needs no noise level: the posterior depends on what is seen through the evidence
    only. What comes out is added to the log of the evidence, so the network has to learn what the other leaves say,
    the message ν↓.

    Args:
        v, s, L: of the grammar.
        width: channels of every layer.
    """

    def __init__(self, v: int, s: int, L: int, width: int):
        super().__init__()
        self.v, self.s, self.L, self.width = v, s, L, width
        channels = [v] + [width] * L
        self.up = nn.ModuleList(nn.Linear(s * channels[k], width, device="cpu") for k in range(L))
        self.down = nn.ModuleList(nn.Linear(width + s * channels[k], s * width, device="cpu") for k in range(L))
        self.up_norm = nn.ModuleList(nn.LayerNorm(width, device="cpu") for _ in range(L))
        self.down_norm = nn.ModuleList(nn.LayerNorm(width, device="cpu") for _ in range(L))
        self.readout = nn.Linear(width, v, device="cpu")
        self.float()  # whatever torch's default is

    def reset_parameters(self, generator: torch.Generator) -> TreeUNet:
        """Draw all weights afresh, so that it starts as the single leaf's own posterior; returns the network."""
        with torch.no_grad():
            for layer in (*self.up, *self.down):
                layer.weight.normal_(0, math.sqrt(2 / layer.in_features), generator=generator)
                layer.bias.zero_()
            for norm in (*self.up_norm, *self.down_norm):
                norm.reset_parameters()
            self.readout.weight.zero_()
            self.readout.bias.zero_()
        return self

    def forward(self, evidence: Tensor) -> Tensor:
        """Logits of the leaf marginals, (n, s^L, v), from evidence of that shape."""
        n, d, v = evidence.shape
        if (d, v) != (self.s**self.L, self.v):
            raise ValueError(f"evidence: expected shape (n, {self.s**self.L}, {self.v}), got {tuple(evidence.shape)}")
        h = [(v * evidence - 1) / math.sqrt(v - 1)]  # nothing known is zero, certainty has length √v
        for layer, norm in zip(linear_maps(self.up), self.up_norm, strict=True):
            h.append(torch.relu(norm(layer(h[-1].reshape(n, -1, layer.in_features)))))
        told = h[-1]
        for layer, norm, below in list(zip(linear_maps(self.down), self.down_norm, h))[::-1]:
            family = torch.cat([told, below.reshape(n, told.shape[1], -1)], -1)
            told = torch.relu(norm(layer(family).reshape(n, -1, self.width)))
        return evidence.clamp_min(1e-30).log() + self.readout(told)

    def marginals(self, evidence: Tensor) -> Tensor:
        """The network as a denoiser: evidence to leaf marginals, both (n, s^L, v)."""
        return self(evidence).softmax(-1)


@dataclass(frozen=True)
class DenoiserTraining:
    """How a denoiser is trained; with the seed it determines the weights up to the machine's arithmetic.

    Attributes:
        v, m, s, L: of the grammar.
        process: "mask" or "gaussian".
        num_data: size P of the training set.
        width: channels of the network.
        learning_rate, batch, steps: of Adam; the rate falls to zero as a half cosine.
        overfit: it ends before the last step once the validation loss is so far above its lowest, in nats a leaf.
        checks: how often the validation loss is looked at, at geometrically spaced steps.
        seed: draws the grammar, the training set and the weights; 0 to 2**32 - 1. Those of equal seed share the
            grammar, whatever the process and the size of the training set.

    Raises:
        ValueError: the seed is none.
    """

    v: int = 8
    m: int = 3
    s: int = 2
    L: int = 3
    process: str = "mask"
    num_data: int = 1024
    width: int = 64
    learning_rate: float = 2e-2
    batch: int = 512
    steps: int = 1000
    overfit: float = 0.6
    checks: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        checked(self.seed)

    def grammar(self) -> Grammar:
        """The grammar that it is about."""
        rng = torch.Generator().manual_seed(self.seed)
        return random_grammar(v=self.v, m=self.m, s=self.s, L=self.L, generator=rng)

    def data(self) -> Tensor:
        """The training set, (num_data, s^L) int64."""
        return sample(
            self.grammar(), self.num_data, generator=torch.Generator().manual_seed(derived(10_000 + self.seed))
        )[0]

    def test_data(self, n: int) -> tuple[Tensor, ...]:
        """Fresh data of the same grammar with all their levels; a few may by chance stand in the training set."""
        return sample(self.grammar(), n, generator=torch.Generator().manual_seed(derived(20_000 + self.seed)))


class TrainedDenoiser:
    """A network as it was at its lowest validation loss and as it was at the end, and the record of its training.

    Attributes:
        training: `DenoiserTraining`.
        best, last: `TreeUNet`.
        history: one entry a check: step, loss (on the training set, since the check before), validation.
        exact: the loss of the exact denoiser on the same validation data, below which no network can come.
    """

    def __init__(self, training: DenoiserTraining, best: TreeUNet, last: TreeUNet, history: list[dict], exact: float):
        self.training, self.best, self.last, self.history, self.exact = training, best, last, history, exact

    def save(self, path: Path, dtype: torch.dtype = torch.float16) -> None:
        """Write the network at its lowest validation loss, the rules and the record to one safetensors file."""
        tensors = {f"net.{k}": x for k, x in on_cpu(self.best.state_dict(), dtype).items()}
        tensors |= {f"rules.{l}": rule.to(torch.int32) for l, rule in enumerate(self.training.grammar().rules)}
        write_tensors(path, tensors, dict(training=asdict(self.training), history=self.history, exact=self.exact))

    @classmethod
    def load(cls, path: Path) -> tuple[DenoiserTraining, Grammar, TreeUNet]:
        """Read a file written by `save`: the training, the grammar and the network.

        Raises:
            ValueError: the file is not of this kind, or a weight is no float or not finite.
        """
        tensors, about = read_tensors(path)
        try:
            t = DenoiserTraining(**about["training"])
            rules = tuple(tensors[f"rules.{l}"].long() for l in range(t.L))
            net = TreeUNet(t.v, t.s, t.L, t.width)
            weights = {k[4:]: float32(x, f"{path}: weight {k[4:]}") for k, x in tensors.items() if k.startswith("net.")}
            net.load_state_dict(weights)
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"{path}: expected a denoiser written by TrainedDenoiser.save, got {error}") from error
        all_finite({f"{path}: weight {k}": x for k, x in net.state_dict().items()}, "train it again")
        return t, Grammar(t.v, t.m, t.s, t.L, t.v, rules), net.eval()


def train_denoiser(
    training: DenoiserTraining,
    *,
    checkpoint: Path | None = None,
    minutes: float = math.inf,
    every: float = 120.0,
    report: Report | None = None,
) -> TrainedDenoiser | None:
    """Train a `TreeUNet` to name the leaves under fresh noise, by cross-entropy, on a training set of P data.

    The minimiser of this loss is the posterior marginal of each leaf given what is seen, whatever the weights of the
    noise levels: what belief propagation computes.

    Args:
        training: see `DenoiserTraining`.
        checkpoint, minutes, every: as for `hierlib.networks.fit.optimise`.
        report: called with the number of steps done and a note as the training goes on.

    Returns:
        `TrainedDenoiser`, on the CPU; None if the minutes ran out.

    Raises:
        ValueError: the checkpoint belongs to another training.
    """
    device = chosen()
    g, x = training.grammar(), training.data()
    how = process(training.process, g.v)
    valid = training.test_data(2048)[0]
    rng = torch.Generator().manual_seed(derived(30_000 + training.seed))
    held = _evidence(how, valid, rng)
    exact = _loss(infer(g, held, messages=False).marginals[0].clamp_min(1e-30).log(), valid).item()
    held, valid = held.to(device), valid.to(device)
    net = TreeUNet(g.v, g.s, g.L, training.width).reset_parameters(rng).to(device)
    due = _due(training)
    total = torch.zeros((), dtype=torch.float32, device=device)
    state = State(dict(history=[], lowest=math.inf), dict(total=total), rng)

    def rate(step: int) -> float:
        warm = min(1.0, (step + 1) / 50) * (1 + math.cos(math.pi * step / training.steps)) / 2
        return training.learning_rate * warm

    def loss(step: int) -> Tensor:
        batch = x[torch.randint(len(x), (training.batch,), generator=rng, device="cpu")]
        evidence = _evidence(how, batch, rng).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = net(evidence)
        return _loss(logits.float(), batch.to(device))

    def after(step: int, value: Tensor) -> bool:
        """Adds up the loss, and where it is due looks at the validation data and keeps the best weights."""
        state.tensors["total"] += value
        if step not in due:
            return False
        history = state.facts["history"]
        with torch.no_grad():
            now = _loss(net(held), valid).item()
        since = step - (history[-1]["step"] if history else 0)
        history.append(dict(step=step, loss=float(state.tensors["total"]) / since, validation=now))
        state.tensors["total"].zero_()
        state.note = f"validation {now:.4f}"
        if now < state.facts["lowest"]:
            state.facts["lowest"] = now
            state.tensors.update({f"best.{k}": p.detach().clone() for k, p in net.state_dict().items()})
        return now > state.facts["lowest"] + training.overfit

    ended = optimise(
        net,
        torch.optim.Adam(net.parameters(), lr=training.learning_rate, fused=True),
        loss,
        steps=training.steps,
        state=state,
        rate=rate,
        after=after,
        checkpoint=checkpoint,
        identity=dict(training=asdict(training)),
        minutes=minutes,
        every=every,
        report=report,
    )
    if not ended:
        return None
    good = TreeUNet(g.v, g.s, g.L, training.width)
    good.load_state_dict({k: state.tensors[f"best.{k}"].cpu() for k in good.state_dict()})
    return TrainedDenoiser(training, good.eval(), net.cpu(), state.facts["history"], exact)


def _due(training: DenoiserTraining) -> list[int]:
    """The steps after which validation is looked at, geometrically spaced: few data are soon learnt by heart."""
    first = min(10, training.steps)
    ratio = training.steps / first
    raw = (round(first * ratio ** (i / max(1, training.checks - 1))) for i in range(training.checks))
    return sorted({*raw, training.steps})


def _evidence(how: Process, leaves: Tensor, rng: torch.Generator) -> Tensor:
    t = how.times(len(leaves), generator=rng)
    return how.noise.evidence(how.noise.corrupt(leaves, t, generator=rng), t).contiguous()


def _loss(logits: Tensor, leaves: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, 1), leaves.flatten())
