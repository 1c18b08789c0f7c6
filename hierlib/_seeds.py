"""Seeds of random numbers: from 0 to 2**32 - 1, each of which gives other numbers.

A generator of torch takes 64 bits, and on the CPU looks at the lowest 32 only: there 2**32 would give the numbers of 0,
and a difference further up would be none. Negative numbers are taken modulo 2**64, larger ones end in an overflow.

So where many generators are made of one seed, for each step or image, `spread` or a sum takes different seeds to
different lowest 32 bits, step by step and image by image. Two of one run, or another step or image of another seed, may
share a generator all the same, as there are 2**32: of any two by chance once in 2**32.
"""

from __future__ import annotations

import hashlib
import re
from numbers import Integral

LARGEST = 2**32 - 1


def checked(seed: object, name: str = "seed") -> int:
    """The seed itself.

    Raises:
        ValueError: it is no whole number from 0 to 2**32 - 1; says so.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) <= LARGEST:
        raise ValueError(f"{name}: expected a whole number from 0 to 2**32 - 1 = {LARGEST}, got {seed!r}")
    return int(seed)


def parse(text: str, name: str = "seed") -> int:
    """The seed that somebody has typed; errors are those of `checked`."""
    return checked(int(text) if re.fullmatch(r"\s*\d{1,10}\s*", text, re.A) else text, name)


def derived(number: int) -> int:
    """The seed of a number that was made of one, such as 1000 seed + i: itself if it is small, else its digest.

    There are more such numbers than seeds: two large ones are given the same by chance, once in 2**32 pairs.
    """
    if 0 <= number <= LARGEST:
        return number
    return int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:4], "big")


def spread(seed: int, stream: int) -> int:
    """Where the generators of a stream begin to count: far apart for seeds that are near, and never in one place.

    Args:
        seed: 0 to 2**32 - 1; that of 0 is 0.
        stream: from 1 on.
    """
    return seed * pow(2654435761, stream, LARGEST + 1) % (LARGEST + 1)  # times an odd number: one to one
