"""Text as sequences of words: reading a plain text file, the vocabulary, passages, and shuffled text as a control."""

from __future__ import annotations

import codecs
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unicodedata import normalize

import regex as re
import torch
from torch import Tensor

from hierlib._seeds import checked

MASK, RARE = 0, 1  #: tokens of every vocabulary, for an erased word and for a word that the vocabulary lacks
SPECIAL = ("▒", "…")  #: how these two are written
# Marks (vowel signs, accents) belong to what they stand on; so do the signs, without a width, that join or part the
# letters of a word, say where it may be hyphenated or which way it runs.
_LETTER, _ON = r"\p{L}\p{N}_", r"\p{M}\u00ad\u200c-\u200f\u2060\ufeff"
_WORD = f"[{_LETTER}][{_LETTER}{_ON}]*"
_TOKEN = re.compile(rf"{_WORD}(?:['’-]{_WORD})*|[^{_LETTER}\s][{_ON}]*")
_ORDER_MARK = re.compile(rf"(?<![{_LETTER}{_ON}])\ufeff+")
_NO_SPACE_BEFORE, _NO_SPACE_AFTER = set(",.;:!?)]}،؛؟।॥۔"), set("([{")


def split(text: str) -> list[str]:
    """Words and punctuation marks, one by one, as they stand in the text.

    Letters, digits and their marks, of any script, make words; where a script parts its words by nothing, as Chinese
    and Thai do, a word is all that stands between two marks of punctuation.

    >>> split("And God said, Let there be light: and there was light.")[:5]
    ['And', 'God', 'said', ',', 'Let']
    """
    return _TOKEN.findall(text)


def spaced(words: Iterable[str]) -> list[str]:
    """Each word with the space before it, where English has one.

    >>> spaced(["said", ",", "Let", "there"])
    ['said', ',', ' Let', ' there']
    """
    out, glue = [], True
    for word in words:
        out.append(word if glue or word in _NO_SPACE_BEFORE else " " + word)
        glue = word in _NO_SPACE_AFTER
    return out


def join(words: Iterable[str]) -> str:
    """Words and marks as a text again.

    >>> join(split("And God said, Let there be light: and there was light."))
    'And God said, Let there be light: and there was light.'
    """
    return "".join(spaced(words))


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model knows; a token is the place of its word here."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[:2] != SPECIAL or len(self._token) != len(self.words) or len(self.words) < 4:
            raise ValueError(
                f"words: expected {SPECIAL} and at least two words, all different, got {len(self.words)} words that "
                f"start with {self.words[:2]}"
            )

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def _token(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    @classmethod
    def of(cls, words: Iterable[str], size: int) -> Vocabulary:
        """The `size` - 2 most frequent words; of equally frequent ones those that are first in the alphabet.

        Raises:
            ValueError: size is below 4, or there are fewer than two different words.
        """
        if size < 4:
            raise ValueError(f"size: expected at least 4 (two words beside {SPECIAL}), got {size}")
        counts = Counter(word for word in words if word not in SPECIAL)
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls((*SPECIAL, *ranked[: size - 2]))

    def encode(self, words: str | Iterable[str]) -> Tensor:
        """Tokens (n,), int64; a word that is not known becomes `RARE`, the erased sign ▒ `MASK`.

        No word of a text that `read_passages` read is that sign. The ellipsis …, by which `decode` writes rare words,
        is a rare word itself. A word that is known in Unicode's NFC only, to which files are brought, is that word.
        """
        words = split(words) if isinstance(words, str) else words
        tokens = [self._token.get(word, self._token.get(normalize("NFC", word), RARE)) for word in words]
        return torch.tensor(tokens, dtype=torch.int64, device="cpu")

    def decode(self, tokens: Tensor | Sequence[int]) -> list[str]:
        """The words of tokens (n,).

        Raises:
            ValueError: a token is none of the vocabulary.
        """
        tokens = torch.as_tensor(tokens, device="cpu").tolist()
        if tokens and not 0 <= min(tokens) <= max(tokens) < len(self):
            raise ValueError(f"tokens: expected 0…{len(self) - 1}, got {min(tokens)}…{max(tokens)}")
        return [self.words[i] for i in tokens]


def read_passages(path: Path) -> list[list[list[str]]]:
    """Passages of a UTF-8 text file, each a list of its lines, each a list of words.

    Paragraphs, which empty lines part, are the passages; where no line is empty every line is one. Accented letters
    are brought to one form, Unicode's NFC, so that words that look alike are the same; ASCII stays as it is. Byte order
    marks, of which files put together have several, are left out where they join no letters.

    Raises:
        ValueError: the file is missing, no UTF-8 text, without a word, or has the sign of an erased word as a word.
    """
    path = Path(path)
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing there"
        raise ValueError(f"{path}: expected a plain text file, got {got}; check the path")
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise ValueError(f"{path}: expected a plain text file, got {error}; check who may read it") from None
    except UnicodeDecodeError as error:
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # those of UTF-32 start so, too
        got = f"{'UTF-16 or UTF-32' if wide else 'other bytes'} ({error})"
        raise ValueError(f"{path}: expected UTF-8 text, got {got}; convert it, as with iconv") from None
    text = _ORDER_MARK.sub("", normalize("NFC", text))
    paragraphs = [part for part in re.split(r"\n[^\S\n]*\n", text) if part.strip()]
    if len(paragraphs) == 1:
        paragraphs = paragraphs[0].splitlines()
    passages = [[words for line in part.splitlines() if (words := split(line))] for part in paragraphs]
    passages = [lines for lines in passages if lines]
    if not passages or "\0" in text:
        got = "none" if not passages else "a binary file"
        raise ValueError(f"{path}: expected words, got {got}; choose another file")
    if any(SPECIAL[MASK] in line for lines in passages for line in lines):
        raise ValueError(
            f"{path}: expected a text without the sign {SPECIAL[MASK]}, which stands for an erased word here, got it "
            "as a word; write another sign for it"
        )
    return passages


def shuffled(passages: list[list[list[str]]], seed: int) -> list[list[list[str]]]:
    """The same text with the words of every line in random order."""
    rng = torch.Generator().manual_seed(checked(seed))
    return [
        [[line[i] for i in torch.randperm(len(line), generator=rng, device="cpu")] for line in lines]
        for lines in passages
    ]


@dataclass(frozen=True)
class Corpus:
    """Encoded passages, for training and held out.

    Attributes:
        vocabulary: of the training passages.
        train, held_out: passages of at least `length` tokens, (n,) int64 each.
        length: tokens of what the model sees at once.
        skipped: passages that are shorter and left out.
        sha256: of the words, in order, to tell one text from another.
    """

    vocabulary: Vocabulary
    train: list[Tensor]
    held_out: list[Tensor]
    length: int
    skipped: int
    sha256: str

    @classmethod
    def read(
        cls, path: Path, *, length: int, vocabulary: int, every: int = 20, shuffle: bool = False, seed: int = 0
    ) -> Corpus:
        """A text file as a corpus.

        Args:
            path: see `read_passages`.
            length: tokens that the model sees at once, at least 2.
            vocabulary: number of words it knows at most, the two special ones among them.
            every: one passage in so many is held out, at least 2.
            shuffle: put the words of every line in random order, as a control; the vocabulary stays the same.
            seed: of the shuffling.

        Raises:
            ValueError: the file or a number is wrong, or too few passages are long enough.
        """
        if length < 2 or every < 2:
            raise ValueError(f"expected length and every of at least 2, got {length} and {every}")
        passages = read_passages(path)
        if shuffle:
            passages = shuffled(passages, seed)
        flat = [[word for line in lines for word in line] for lines in passages]
        whole = [words for words in flat if len(words) >= length]
        if len(whole) < every:
            raise ValueError(
                f"{path}: expected at least {every} passages of {length} words, got {len(whole)} of {len(flat)}; "
                "shorten the length, or part the text into longer paragraphs by empty lines"
            )
        held = [i % every == every - 1 for i in range(len(whole))]
        known = Vocabulary.of((w for words, out in zip(whole, held) if not out for w in words), vocabulary)
        digest = hashlib.sha256("\n".join(" ".join(words) for words in flat).encode()).hexdigest()
        shown, kept = ([known.encode(w) for w, out in zip(whole, held) if out == side] for side in (False, True))
        return cls(known, shown, kept, length, len(flat) - len(whole), digest)

    def windows(self, num: int) -> tuple[Tensor, Tensor]:
        """Windows of the held-out passages, evenly spread, none overlapping another.

        Args:
            num: how many, at least 1.

        Returns:
            Tokens (num, length) and the number of the passage that each is from, (num,).

        Raises:
            ValueError: there are fewer.
        """
        places = [(p, i) for p, x in enumerate(self.held_out) for i in range(0, len(x) - self.length + 1, self.length)]
        if not 1 <= num <= len(places):
            raise ValueError(f"num: expected 1 to {len(places)} windows of the held-out text, got {num}")
        chosen = [places[i * len(places) // num] for i in range(num)]
        tokens = torch.stack([self.held_out[p][i : i + self.length] for p, i in chosen])
        return tokens, torch.tensor([p for p, _ in chosen], device="cpu")
