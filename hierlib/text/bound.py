"""The loss of masked diffusion, in nats a word, and the training that makes it small."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from hierlib.networks.fit import Report, Schedule, fit
from hierlib.text.corpus import MASK, Corpus
from hierlib.text.model import MaskedModel, Size, TextModel


def erase(x: Tensor, count: Tensor, generator: torch.Generator) -> Tensor:
    """Which words are erased, (n, d) bool: `count` (n,) of each row, drawn without replacement."""
    order = torch.rand(x.shape, dtype=torch.float32, generator=generator, device=x.device).argsort(1).argsort(1)
    return order < count[:, None]


def bound(network: MaskedModel, x: Tensor, generator: torch.Generator) -> Tensor:
    """Bound on -log p(x) per word, (n,), unbiased: the mean of -log p over a uniform number of erased words.

    Averaged over the number k = 1 … d of erased words and over which they are, it is the negative evidence lower bound
    of absorbing diffusion with any schedule, and the mean loss of an autoregressive model over all orders (Uria, Murray
    and Larochelle 2014). The numbers k of a batch are spread evenly.
    """
    n, d = x.shape
    even = (
        torch.randperm(n, generator=generator, device=x.device)
        + torch.rand(1, dtype=torch.float32, generator=generator, device=x.device)
    ) / n
    count = (1 + (even * d).long()).clamp_max(d)
    gone = erase(x, count, generator)
    where = gone.nonzero(as_tuple=True)
    log_p = network(x.masked_fill(gone, MASK), where)
    truth = log_p.gather(1, x[where][:, None])[:, 0].float()
    return -truth.new_zeros(n).index_add_(0, where[0], truth) / count


def train(
    corpus: Corpus,
    size: Size,
    schedule: Schedule,
    *,
    checkpoint: Path,
    about: dict,
    minutes: float = math.inf,
    every: float = 120.0,
    report: Report | None = None,
) -> TextModel | None:
    """Minimise the bound over windows of the training passages, each at a random place of its passage.

    Args:
        corpus: what to learn.
        size: of the network.
        schedule: an example is a window.
        checkpoint, minutes, every, report: as for `hierlib.networks.fit.fit`.
        about: facts to keep with the weights, json.

    Returns:
        The model with its validation loss in `about`, or None if the minutes ran out.

    Raises:
        ValueError: as `fit`.
    """
    if (size.vocabulary, size.length) != (len(corpus.vocabulary), corpus.length):
        raise ValueError(
            f"size: expected {len(corpus.vocabulary)} words and length {corpus.length} of the corpus, got {size}"
        )
    source = torch.tensor([p for p, x in enumerate(corpus.train) for _ in range(len(x) // corpus.length)], device="cpu")
    text = torch.cat(corpus.train)
    lengths = torch.tensor([len(x) for x in corpus.train], device="cpu")
    starts = lengths.cumsum(0) - lengths
    step = torch.arange(corpus.length, device="cpu")

    def loss(index: Tensor, rng: torch.Generator) -> Tensor:
        p = source[index]
        room = lengths[p] - corpus.length + 1
        at = starts[p] + (torch.rand(len(p), dtype=torch.float32, generator=rng, device="cpu") * room).long().minimum(
            room - 1
        )
        with torch.autocast("cpu", torch.bfloat16):  # twice as fast where the processor knows the format
            return bound(network, text[at[:, None] + step], rng).mean()

    torch.manual_seed(schedule.seed)  # torch's layers draw their first weights from its own generator
    network = MaskedModel(size)
    with torch.no_grad():  # where nothing is seen yet: how frequent each word is
        network.bias.copy_(torch.log((text.bincount(minlength=size.vocabulary) + 1.0) / len(text)))
    kept = fit(
        network,
        loss,
        len(source),
        schedule,
        checkpoint=checkpoint,
        identity=dict(size=asdict(size), sha256=corpus.sha256),
        minutes=minutes,
        every=every,
        report=report,
    )
    if kept is None:
        return None
    network.load_state_dict(kept)
    facts = dict(about, schedule=asdict(schedule), sha256=corpus.sha256, validation=validation(network, corpus))
    return TextModel(network.eval(), corpus.vocabulary, facts)


@torch.no_grad()
def validation(network: MaskedModel, corpus: Corpus, repeats: int = 4, batch: int = 64) -> float:
    """The bound on all windows of the held-out passages, in nats a word; each is erased `repeats` times."""
    every = sum(len(x) // corpus.length for x in corpus.held_out)
    x = corpus.windows(every)[0]
    rng = torch.Generator().manual_seed(0)
    losses = [bound(network, part, rng) for _ in range(repeats) for part in x.split(batch)]
    return float(torch.cat(losses).double().mean())
