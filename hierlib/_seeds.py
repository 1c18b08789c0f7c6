"""Seeds of random numbers: from 0 to 2**32 - 1, each of which gives other numbers.

A generator of torch takes 64 bits, and on the CPU looks at the lowest 32 only: there 2**32 would give the numbers of 0,
and a difference further up would be none. Negative numbers are taken modulo 2**64, larger ones end in an overflow.
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
    """The seed of a number that was made of one, such as 1000 seed + i: itself if it is small, else its digest."""
    return number if 0 <= number <= LARGEST else mixed(number)


def mixed(*numbers: int) -> int:
    """One seed of several numbers, by their digest: that of two different rows is the same once in 2**32 pairs."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, numbers)).encode()).digest()[:4], "big")
