"""In which floating type what is computed, and when numbers come so close to the end of its range that they say so.

A message is a sum of products of s others. Where these are small, a product may fall below the smallest number of the
type, and with it a symbol that other evidence, further up, leaves as the only one. So each backend follows, up the
tree, how far the numbers of a subtree may still shrink before that matters (the headroom: the sum of the products as
computed, times the sums at all ancestors), and down the tree the evidence in each node. A datum for which one of
these is below `least` is reported as if it were impossible; what is left is right to the last digits.
"""

from __future__ import annotations

from functools import cache

import torch

TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
GUARD = 16  # binary digits that a decisive number keeps above the smallest normal one


@cache
def computed_in(dtype: torch.dtype) -> torch.dtype:
    """The type in which evidence of one of `TYPES` is handled: half precision is too narrow for any product."""
    return torch.promote_types(dtype, torch.float32)


@cache
def least(dtype: torch.dtype) -> float:
    """The smallest evidence or headroom, relative to normalised messages, that a type can carry."""
    return torch.finfo(dtype).tiny * 2.0**GUARD


def spread(s: int) -> int:
    """Up to 2^±spread a message counts as normalised; the product of s of them stays within 2^±80."""
    return min(16, 80 // s)
