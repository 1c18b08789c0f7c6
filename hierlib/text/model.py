"""A masked-diffusion language model: what a word may be, given those of the others that are not erased."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierlib._finite import all_finite, float32
from hierlib._storage import read_tensors, write_tensors
from hierlib.text.corpus import MASK, Vocabulary


class Block(nn.Module):
    """Attention whose weights may depend on the distance of two words, then a layer on each word alone."""

    place: Tensor

    def __init__(self, width: int, heads: int, length: int):
        super().__init__()
        self.heads, self.length = heads, length
        self.norms = nn.ModuleList(nn.LayerNorm(width, device="cpu") for _ in range(2))
        self.qkv, self.out = (
            nn.Linear(width, 3 * width, bias=False, device="cpu"),
            nn.Linear(width, width, device="cpu"),
        )
        self.widen, self.narrow = nn.Linear(width, 4 * width, device="cpu"), nn.Linear(4 * width, width, device="cpu")
        # from the start half of the heads look at near words, some to the left, some to the right
        head, place = (torch.arange(n, device="cpu") for n in (heads, length))
        shift = head - (heads - 1) / 2
        distance = torch.arange(1 - length, length, device="cpu")
        near = -((distance - shift[:, None]) ** 2 / 4).clamp_max(4.0)
        self.bias = nn.Parameter(near * (head[:, None] % 2 == 0))
        self.register_buffer("place", place - place[:, None] + length - 1, persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        """From the states of the words, (n, d, width), to those of the next block."""
        n, d, width = h.shape
        q, k, v = self.qkv(self.norms[0](h)).reshape(n, d, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias[:, self.place[:d, :d]].expand(n, -1, -1, -1))
        h = h + self.out(seen.transpose(1, 2).reshape(n, d, width))
        return h + self.narrow(F.gelu(self.widen(self.norms[1](h))))


@dataclass(frozen=True)
class Size:
    """Of a model: tokens it knows and sees at once, channels, heads and blocks."""

    vocabulary: int
    length: int
    width: int = 128
    heads: int = 4
    blocks: int = 4

    def __post_init__(self) -> None:
        for name, least in (("vocabulary", 4), ("length", 2), ("width", 1), ("heads", 1), ("blocks", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"width: expected a multiple of {self.heads} heads, got {self.width}")


class MaskedModel(nn.Module):
    """p(word i | the words that are not erased), for all i at once.

    A transformer that sees both sides. It is not told how much is erased: the posterior of an erased word depends on
    the words that are left only. The erased sign itself has probability zero.
    """

    def __init__(self, size: Size):
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(size.vocabulary, size.width, device="cpu")
        blocks = [Block(size.width, size.heads, size.length) for _ in range(size.blocks)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(size.width, device="cpu")
        self.bias = nn.Parameter(torch.zeros(size.vocabulary, dtype=torch.float32, device="cpu"))
        self.float()  # whatever torch's default is
        nn.init.normal_(self.embedding.weight, std=0.05)
        for block in blocks:
            for layer in (block.out, block.narrow):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def hidden(self, tokens: Tensor) -> Tensor:
        """(n, d) tokens, d at most the length, to (n, d, width)."""
        if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= self.size.length:
            raise ValueError(f"tokens: expected (n, 1 to {self.size.length} words), got shape {tuple(tokens.shape)}")
        h = self.embedding(tokens)
        for block in self.blocks:
            h = block(h)
        return self.norm(h)

    def read_out(self, hidden: Tensor) -> Tensor:
        """Log probabilities (…, vocabulary) from hidden states (…, width)."""
        logits = F.linear(hidden, self.embedding.weight, self.bias)
        return logits.index_fill(-1, torch.tensor(MASK, device=logits.device), -torch.inf).log_softmax(-1)

    def forward(self, tokens: Tensor, where: tuple[Tensor, Tensor]) -> Tensor:
        """Log probabilities of some words.

        Args:
            tokens: (n, d), `MASK` where a word is erased.
            where: (k,) rows and (k,) places of the words that are asked for.

        Returns:
            (k, vocabulary).
        """
        return self.read_out(self.hidden(tokens)[where])


@dataclass(frozen=True)
class TextModel:
    """A trained model, its vocabulary and how it was made."""

    network: MaskedModel
    vocabulary: Vocabulary
    about: dict

    def save(self, path: Path, dtype: torch.dtype = torch.float16) -> None:
        """Write a safetensors file, first under a temporary name."""
        tensors = {k: w.detach().to("cpu", dtype).contiguous() for k, w in self.network.state_dict().items()}
        write_tensors(path, tensors, dict(self.about, size=asdict(self.network.size), words=self.vocabulary.words))

    @classmethod
    def load(cls, path: Path) -> TextModel:
        """Read it again, in float32.

        Raises:
            ValueError: it is no such file, or a weight is no float or not finite.
        """
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"{path}: expected a model of `hierlib train text fit`, got nothing there")
        tensors, about = read_tensors(path)
        try:
            size, words = Size(**about.pop("size")), Vocabulary(tuple(about.pop("words")))
            network = MaskedModel(size)
            network.load_state_dict({k: float32(w, f"{path}: weight {k}") for k, w in tensors.items()})
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(
                f"{path}: expected a masked-diffusion language model, got another file ({error})"
            ) from None
        all_finite({f"{path}: weight {k}": w for k, w in tensors.items()}, "train it again")
        return cls(network.eval(), words, about)
