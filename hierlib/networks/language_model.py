"""A causal transformer that says the next leaf, and its training on strings that are each seen once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hierlib._devices import chosen
from hierlib._finite import all_finite, float32
from hierlib._seeds import checked, derived
from hierlib._storage import on_cpu, read_tensors, write_tensors
from hierlib.grammar import Grammar, random_grammar
from hierlib.language import block_reader
from hierlib.networks.fit import Report, State, optimise
from hierlib.sampling import sample

TESTED = 1000  #: strings on which a training is tested as it goes on
WARM = 100  #: steps in which the learning rate rises


class CausalTransformer(nn.Module):
    """A transformer of torch's own layers whose answer for a place depends on the leaves before it only.

    What is not seen, as what is before the string, is a sign of its own; the place of each leaf is learnt. Layer norm
    comes first in each layer, GELU, no dropout.

    Args:
        v: size of the alphabet.
        d: number of leaves.
        width: channels of every layer, a multiple of heads.
        heads: of the attention.
        depth: number of layers.

    Raises:
        ValueError: the width is no multiple of the heads.
    """

    ahead: Tensor

    def __init__(self, v: int, d: int, width: int, heads: int, depth: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"width: expected a multiple of {heads} heads, got {width}")
        self.v, self.d, self.width = v, d, width
        self.symbols = nn.Embedding(v + 1, width, device="cpu")  # the last one: nothing seen
        self.places = nn.Parameter(torch.empty(d, width, dtype=torch.float32, device="cpu"))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True, device="cpu"
        )
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width, device="cpu"), enable_nested_tensor=False)
        self.readout = nn.Linear(width, v, device="cpu")
        later = torch.ones(d, d, dtype=torch.bool, device="cpu").triu(1)
        self.register_buffer("ahead", later, persistent=False)  # what a place must not see
        self.float()  # whatever torch's default is

    def reset_parameters(self, generator: torch.Generator) -> CausalTransformer:
        """Draw all weights afresh from a generator, so that it starts at equal probabilities; returns the network."""
        with torch.no_grad():
            for name, w in self.named_parameters():
                if w.ndim == 2:
                    w.normal_(0, (3 * w.shape[1]) ** -0.5, generator=generator)
                else:
                    w.fill_(float(name.endswith(("norm1.weight", "norm2.weight", "norm.weight"))))
            self.symbols.weight.normal_(generator=generator)
            self.places.normal_(0, 0.2, generator=generator)
            self.readout.weight.zero_()
        return self

    def forward(self, leaves: Tensor, first: Tensor | int = 0) -> Tensor:
        """Logits of each leaf given those before it that are seen.

        Args:
            leaves: (n, d) int64.
            first: (n,) int64 or a number, the first leaf that is seen, 0 … d; 0 shows all.

        Returns:
            (n, d, v); row i of a string depends on its leaves first … i - 1.

        Raises:
            ValueError: leaves are of another shape.
        """
        if leaves.ndim != 2 or leaves.shape[1] != self.d:
            raise ValueError(f"leaves: expected shape (n, {self.d}), got {tuple(leaves.shape)}")
        before = torch.cat([torch.full_like(leaves[:, :1], self.v), leaves[:, :-1]], 1)  # row i holds leaf i - 1
        begin = torch.as_tensor(first, device=leaves.device).reshape(-1, 1)
        unseen = torch.arange(self.d, device=leaves.device) <= begin
        before = before.masked_fill(unseen, self.v)
        return self.readout(self.layers(self.symbols(before) + self.places, mask=self.ahead))

    @torch.no_grad()
    def log_probabilities(self, leaves: Tensor, first: int = 0) -> Tensor:
        """Of each leaf given those before it that are seen, ln p(x_i = a | x_first … x_{i-1}), without gradients.

        Args:
            leaves, first: as for `forward`.

        Returns:
            (n, d, v), float32.
        """
        return torch.cat([self(x, first).log_softmax(2) for x in leaves.split(500)])


@dataclass(frozen=True)
class LanguageTraining:
    """How a language model is trained; with the seed it determines the weights up to the machine's arithmetic.

    Attributes:
        v, m, s, L: of the grammar.
        width, heads, depth: of the network.
        strings: how many it sees in all, each of them once; a multiple of the batch.
        windows: share of the strings whose first leaves, a random number of them, are not shown, so that it learns to
            read from any leaf on.
        batch, learning_rate: of AdamW; the rate rises over `WARM` steps and falls to zero as a half cosine.
        checkpoints: of how many weights are kept: the last ones, those after a quarter of the strings, a sixteenth …
        seed: draws the grammar, the strings and the weights; 0 to 2**32 - 1.

    Raises:
        ValueError: the seed is none, the windows are no share, there is no checkpoint, or one does not come after
            whole batches.
    """

    v: int = 8
    m: int = 3
    s: int = 2
    L: int = 5
    width: int = 64
    heads: int = 4
    depth: int = 3
    strings: int = 131_072
    windows: float = 0.5
    batch: int = 32
    learning_rate: float = 2e-3
    checkpoints: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        checked(self.seed)
        if not 0 <= self.windows <= 1:
            raise ValueError(f"windows: expected a share from 0 to 1, got {self.windows}")
        if self.checkpoints < 1:
            raise ValueError(f"checkpoints: expected at least 1, got {self.checkpoints}")
        least = self.batch * 4 ** (self.checkpoints - 1)
        if self.strings < 1 or self.strings % least:
            raise ValueError(
                f"strings: expected a multiple of {least}, so that {self.checkpoints} checkpoints come after whole "
                f"batches of {self.batch}, got {self.strings}"
            )

    def grammar(self) -> Grammar:
        """The grammar that it is about."""
        rng = torch.Generator("cpu").manual_seed(self.seed)
        return random_grammar(v=self.v, m=self.m, s=self.s, L=self.L, generator=rng)

    def network(self) -> CausalTransformer:
        """A network of its shape, weights as torch draws them."""
        return CausalTransformer(self.v, self.s**self.L, self.width, self.heads, self.depth)

    def test_data(self, n: int) -> Tensor:
        """Fresh strings of the same grammar, (n, s^L) int64."""
        return sample(self.grammar(), n, generator=torch.Generator("cpu").manual_seed(derived(20_000 + self.seed)))[0]

    def clock(self) -> tuple[int, ...]:
        """The numbers of strings after which weights are kept, increasing."""
        return tuple(self.strings // 4**k for k in reversed(range(self.checkpoints)))


class LanguageModel:
    """A network as it was after some numbers of strings, and the record of its training; one safetensors file.

    Attributes:
        training: `LanguageTraining`.
        networks: number of strings → `CausalTransformer`, on the CPU; the last one is the end of the training.
        history: an entry a checkpoint: strings; loss, the mean since the one before, windows and all; test, on whole
            fresh strings.
        exact: the loss of exact inference on the same test strings, below which no network can come but by chance.
    """

    def __init__(
        self,
        training: LanguageTraining,
        networks: Mapping[int, CausalTransformer],
        history: list[dict[str, float]],
        exact: float,
    ):
        self.training, self.networks, self.history, self.exact = training, dict(networks), history, exact

    def save(self, path: Path, dtype: torch.dtype = torch.float16) -> None:
        """Write the file (under a temporary name first); dtype float32 keeps every bit."""
        tensors = {
            f"net.{strings}.{k}": x
            for strings, net in self.networks.items()
            for k, x in on_cpu(net.state_dict(), dtype).items()
        }
        tensors |= {f"rules.{l}": rule.to(torch.int32) for l, rule in enumerate(self.training.grammar().rules)}
        write_tensors(path, tensors, dict(training=asdict(self.training), history=self.history, exact=self.exact))

    @classmethod
    def load(cls, path: Path) -> tuple[LanguageModel, Grammar]:
        """Read a file written by `save`: the model, and the grammar whose rules stand in the file.

        Raises:
            ValueError: the file is not of this kind, or a weight is no float or not finite.
        """
        tensors, about = read_tensors(path)
        try:
            t = LanguageTraining(**about["training"])
            rules = tuple(tensors[f"rules.{l}"].long() for l in range(t.L))
            networks = {strings: t.network() for strings in t.clock()}
            for strings, net in networks.items():
                begin = f"net.{strings}."
                mine = {k.removeprefix(begin): x for k, x in tensors.items() if k.startswith(begin)}
                net.load_state_dict({k: float32(x, f"{path}: weight {begin}{k}") for k, x in mine.items()})
                named = {f"{path}: weight {begin}{k}": x for k, x in net.state_dict().items()}
                all_finite(named, "train it again")
            model = cls(t, {k: net.eval() for k, net in networks.items()}, about["history"], about["exact"])
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"{path}: expected a model written by LanguageModel.save, got {error}") from error
        return model, Grammar(t.v, t.m, t.s, t.L, t.v, rules)


def train_language_model(
    training: LanguageTraining,
    *,
    checkpoint: Path | None = None,
    minutes: float = math.inf,
    every: float = 120.0,
    report: Report | None = None,
) -> LanguageModel | None:
    """Train a `CausalTransformer` to say each leaf from those before it, by cross-entropy, on strings drawn as it goes.

    No string is shown twice but by chance, so that the loss on the way is that of fresh strings, and what is missing to
    the exact loss is what the network has not learnt, and not what it has learnt by heart.

    Args:
        training: see `LanguageTraining`.
        checkpoint, minutes, every: as for `hierlib.networks.fit.optimise`.
        report: called with the number of strings seen and a note as the training goes on.

    Returns:
        `LanguageModel`, on the CPU; None if the minutes ran out.

    Raises:
        ValueError: the checkpoint belongs to another training, or the loss is not finite.
    """
    device = chosen()
    g, clock = training.grammar(), training.clock()
    test = training.test_data(TESTED)
    exact = -float(block_reader(g, test, g.L).gather(2, test[..., None]).log().mean())
    test = test.to(device)
    rng = torch.Generator("cpu").manual_seed(derived(30_000 + training.seed))
    net = training.network().reset_parameters(rng).to(device)
    total = torch.zeros((), dtype=torch.float32, device=device)
    state = State(dict(history=[]), dict(total=total), rng)
    steps = training.strings // training.batch

    def rate(step: int) -> float:
        return training.learning_rate * min(1.0, (step + 1) / WARM) * (1 + math.cos(math.pi * step / steps)) / 2

    def loss(step: int) -> Tensor:
        x = sample(g, training.batch, generator=rng)[0]
        hidden = torch.rand(len(x), generator=rng, dtype=torch.float32, device="cpu") < training.windows
        first = hidden * torch.randint(1, g.d, (len(x),), generator=rng, device="cpu")
        x = x.to(device)
        return nn.functional.cross_entropy(net(x, first.to(device)).flatten(0, 1), x.flatten())

    def after(step: int, value: Tensor) -> bool:
        """Adds up the loss, and at a checkpoint tests the network and keeps its weights."""
        state.tensors["total"] += value
        strings = step * training.batch
        if strings not in clock:
            return False
        history: list[dict[str, Any]] = state.facts["history"]
        since = step - (history[-1]["strings"] // training.batch if history else 0)
        now = -float(net.log_probabilities(test).gather(2, test[..., None]).mean())
        history.append(dict(strings=strings, loss=float(state.tensors["total"]) / since, test=now))
        state.tensors["total"].zero_()
        state.note = f"{now - exact:.4f} nats a leaf above the exact loss after {strings} strings"
        state.tensors.update({f"{strings}.{k}": w.detach().clone() for k, w in net.state_dict().items()})
        return False

    ended = optimise(
        net,
        torch.optim.AdamW(net.parameters(), lr=training.learning_rate, betas=(0.9, 0.98), fused=True),
        loss,
        steps=steps,
        state=state,
        rate=rate,
        clip=1.0,
        after=after,
        checkpoint=checkpoint,
        identity=dict(training=asdict(training)),
        minutes=minutes,
        every=every,
        report=None if report is None else lambda step, note: report(step * training.batch, note),
    )
    if not ended:
        return None
    networks = {strings: training.network() for strings in clock}
    for strings, kept in networks.items():
        kept.load_state_dict({k: state.tensors[f"{strings}.{k}"].cpu() for k in kept.state_dict()})
        kept.eval()
    return LanguageModel(training, networks, state.facts["history"], exact)
