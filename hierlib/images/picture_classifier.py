"""A convolutional classifier of pictures made of parts: what it is, what it is trained on, how it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hierlib._finite import finite
from hierlib._provenance import sha256_of_tensors
from hierlib.grammar import Grammar, random_grammar
from hierlib.images.models import load_weights, placed
from hierlib.images.pictures import Alphabet, draw, shapes
from hierlib.images.probe import Probe
from hierlib.images.unet import check_weights
from hierlib.sampling import sample

KIND = "classifier of pictures"


class PictureCNN(nn.Module):
    """3 × 3 convolutions with batch normalisation, strided down to a single place, then logits.

    The first halves the side. While there are at most 8 places a side, one keeps it and the next halves it: pictures of
    32 pixels have 8 blocks, of 16, 8, 8, 4, 4, 2, 2 and 1 places a side. Channels double after every halving.

    Args:
        side: pixels of a picture, a power of 2, at least 4.
        num_classes: number of logits.
        width: channels of the first block; others have up to 8 times as many.
        channels: of the pictures.

    Raises:
        ValueError: the side is not such a number.
    """

    def __init__(self, side: int, num_classes: int, width: int = 16, channels: int = 3):
        super().__init__()
        if side < 4 or side & (side - 1):
            raise ValueError(f"side: expected a power of 2, at least 4, got {side}")
        self.config = dict(side=side, num_classes=num_classes, width=width, channels=channels)
        blocks: list[nn.Module] = []
        inside, outside = channels, width
        while side > 1:
            for stride in (1, 2) if blocks and side <= 8 else (2,):
                conv = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False, device="cpu")
                blocks.append(nn.Sequential(conv, nn.BatchNorm2d(outside, device="cpu"), nn.ReLU()))
                inside = outside
                if stride == 2:
                    side, outside = side // 2, min(2 * outside, 8 * width)
        self.blocks = nn.ModuleList(blocks)
        self.logits = nn.Linear(inside, num_classes, device="cpu")
        self.float()  # whatever torch's default is

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, num_classes) of pictures (n, channels, side, side) in [-1, 1]."""
        for block in self.blocks:
            x = block(x)
        return self.logits(x.flatten(1))

    @property
    def nodes(self) -> dict[str, str]:
        """Node of the probe → name of the layer, in order."""
        return {f"blocks.{i}": f"block {i + 1}" for i in range(len(self.blocks))} | {"logits": "logits"}


@dataclass(frozen=True)
class PictureData:
    """Pictures of a drawn grammar, four children a node, in the tiles of `hierlib.images.pictures.shapes`.

    Attributes:
        v, m, L: of the grammar; v ≤ 16.
        p: pixels of a tile.
        grammar: seed of its rules.
    """

    v: int = 12
    m: int = 12
    L: int = 3
    p: int = 4
    grammar: int = 0

    @property
    def g(self) -> Grammar:
        """The grammar."""
        rng = torch.Generator("cpu").manual_seed(self.grammar)
        return random_grammar(v=self.v, m=self.m, s=4, L=self.L, generator=rng)

    @property
    def alphabet(self) -> Alphabet:
        """The tiles."""
        return shapes(self.v, self.p)

    @property
    def side(self) -> int:
        """Pixels of a picture, down and across."""
        return self.p << self.L

    @property
    def name(self) -> str:
        """For people."""
        return f"pictures of grammar {self.grammar}, v={self.v} m={self.m} s=4 L={self.L}"

    @property
    def licence(self) -> str:
        """They are drawn."""
        return "of this repository"

    def digest(self) -> str:
        """sha256 of rules and tiles."""
        parts = {f"rules {i}": rules for i, rules in enumerate(self.g.rules)}
        return sha256_of_tensors(parts | {"tiles": self.alphabet.tiles})


def fresh_loss(network: nn.Module, data: PictureData, batch: int) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Cross entropy of the class of pictures that are drawn for each step and never seen again.

    Args:
        network: a `PictureCNN`.
        data: what is drawn.
        batch: pictures a step.

    Returns:
        A loss for `hierlib.networks.fit.fit`, which leaves the numbers of its images aside.
    """
    g, alphabet = data.g.to(next(network.parameters()).device), data.alphabet

    def loss(_: Tensor, rng: torch.Generator) -> Tensor:
        x = sample(g, batch, generator=rng)
        pictures = draw(alphabet, x[0]).float() / 127.5 - 1
        logits = network(pictures.contiguous(memory_format=torch.channels_last))
        return nn.functional.cross_entropy(logits, x[-1][:, 0])

    return loss


@torch.no_grad()
def accuracy(network: nn.Module, data: PictureData, n: int, *, generator: torch.Generator) -> float:
    """Share of new pictures of which the class has the largest logit.

    Args:
        network: a `PictureCNN`.
        data: what is drawn.
        n: pictures.
        generator: draws them, on the network's device.

    Raises:
        ValueError: logits are not finite.
    """
    x = sample(data.g.to(generator.device), n, generator=generator)
    parts = draw(data.alphabet, x[0]).split(500)
    logits = torch.cat([network(part.float() / 127.5 - 1) for part in parts])
    finite(logits, "logits", "train the network again, at a lower rate")
    return float((logits.argmax(1) == x[-1][:, 0]).double().mean())


def load_picture_classifier(path: Path) -> tuple[Probe, PictureData]:
    """A classifier trained by `hierlib train pictures`, with all its layers, and what it was trained on.

    Raises:
        ValueError: the files are missing or damaged, or belong to other pictures than these.
    """
    weights, about = load_weights(path, KIND)
    try:
        data, network = PictureData(**about["pictures"]), PictureCNN(**about["network"])
        if data.digest() != about["inputs"]["data"]:
            raise ValueError("other rules or tiles than it was trained on; train it again")
        check_weights(network.state_dict(), weights)
        network.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: expected weights and a json that belong together, got {error}") from error
    return probe_of(network, f"pictures of grammar {data.grammar}", digest=about["sha256"]), data


def probe_of(network: PictureCNN, name: str, *, trained: bool = True, digest: str = "") -> Probe:
    """A network with all its layers.

    Args:
        network: is put into evaluation mode, and trained no more.
        name, trained, digest: see `hierlib.images.probe.Probe`.
    """
    half = (0.5,) * network.config["channels"]
    network.requires_grad_(False)
    return Probe(placed(network), network.nodes, mean=half, std=half, name=name, trained=trained, digest=digest)
