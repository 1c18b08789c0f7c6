"""A small convolutional classifier of the embedded images: the network that the probe looks into."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from hierlib._finite import finite
from hierlib.images.models import load_weights
from hierlib.images.unet import check_weights


class ImageCNN(nn.Module):
    """Stages of 3 × 3 convolutions with batch normalisation, a mean over positions, one hidden layer, logits.

    Args:
        channels: of the images.
        num_classes: number of logits.
        width: channels of the first stage; every stage doubles them and, but for the first, halves the resolution.
        depth: convolutions a stage.
        stages: number of stages.
    """

    def __init__(self, channels: int, num_classes: int, width: int = 32, depth: int = 2, stages: int = 3):
        super().__init__()
        self.config = dict(channels=channels, num_classes=num_classes, width=width, depth=depth, stages=stages)
        blocks, inside = [], channels
        for stage in range(stages):
            outside = width << stage
            for i in range(depth):
                stride = 2 if stage and i == 0 else 1
                conv = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False, device="cpu")
                blocks.append(nn.Sequential(conv, nn.BatchNorm2d(outside, device="cpu"), nn.ReLU()))
                inside = outside
        self.blocks = nn.ModuleList(blocks)
        self.hidden = nn.Sequential(nn.Linear(inside, inside, device="cpu"), nn.ReLU())
        self.logits = nn.Linear(inside, num_classes, device="cpu")
        self.float()  # whatever torch's default is

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, num_classes) of images (n, channels, height, width) in [-1, 1]."""
        for block in self.blocks:
            x = block(x)
        return self.logits(self.hidden(x.mean((2, 3))))

    @property
    def nodes(self) -> dict[str, str]:
        """Node of the probe → name of the layer, in order."""
        blocks = {f"blocks.{i}": f"convolution {i + 1}" for i in range(len(self.blocks))}
        return blocks | {"hidden": "hidden layer", "logits": "logits"}


def load_classifier(path: Path) -> tuple[ImageCNN, dict]:
    """A classifier trained by `hierlib train classifier`, and what its json says.

    Raises:
        ValueError: the files are missing or damaged, or a weight is not finite.
    """
    weights, about = load_weights(path, "classifier")
    try:
        network = ImageCNN(**about["network"])
        check_weights(network.state_dict(), weights)
        network.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: expected weights and a json that belong together, got {error}") from error
    return network.eval().requires_grad_(False), about


@torch.no_grad()
def classify(network: nn.Module, images: Tensor, batch: int = 500) -> Tensor:
    """The class with the largest logit of each image.

    Args:
        network: an `ImageCNN`.
        images: uint8 (n, channels, height, width).
        batch: images at once.

    Returns:
        (n,) int64, on the CPU.

    Raises:
        ValueError: logits are not finite.
    """
    device = next(network.parameters()).device
    logits = torch.cat([network(part.to(device).float() / 127.5 - 1) for part in images.split(batch)])
    return finite(logits, "logits", "train the network again, at a lower rate").argmax(1).cpu()
