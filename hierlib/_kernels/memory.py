"""Memory for results: aligned, reused when the last tensor that shares it is gone, and foreseen to run out.

To the operating system a fresh page costs more than the belief propagation that fills it (0.1 to 0.8 ms a
megabyte), so a freed block is kept for the next result, up to KEPT bytes in all.
"""

from __future__ import annotations

import math
import threading
from operator import attrgetter

import numpy as np
import torch

from hierlib import _limits
from hierlib.grammar import Grammar

ALIGNMENT = 64
KEPT = 2**28
SMALL = 2**16  # below this the system's allocator is as good
NEGLIGIBLE = 2**22  # bytes; below this the memory is not asked how much there is, which takes longer than to use it
LARGEST_SCRATCH = 2**25  # a thread keeps no more than that
_own = threading.local()
_free: list[np.ndarray] = []
_nbytes = attrgetter("nbytes")
_lock = threading.Lock()


class _Block:
    """Bytes that go back to the free list when the last array on them is gone."""

    def __init__(self, nbytes: int) -> None:
        need = nbytes + ALIGNMENT
        usual = need + need // 16
        with _lock:
            sizes = list(map(_nbytes, _free))
            best = usual if usual in sizes else min((n for n in sizes if need <= n <= 2 * need + 2**16), default=None)
            raw = None if best is None else _free.pop(sizes.index(best))
            while best is None and _free and sum(map(_nbytes, _free)) + need > KEPT:
                del _free[0]  # make room for the sizes that are asked for now
        self.raw = np.empty(usual, np.uint8) if raw is None else raw
        start = self.raw.__array_interface__["data"][0]
        start += -start % ALIGNMENT
        self.__array_interface__ = {
            "data": (start, False),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }

    def __del__(self) -> None:
        # Without the lock: the garbage collector may call this anywhere, inside a locked section too. An append is
        # atomic, and two at once can only keep one block too many.
        if sum(map(_nbytes, list(_free))) + self.raw.nbytes <= KEPT:
            _free.append(self.raw)


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """An uninitialised tensor on the CPU, aligned to 64 bytes."""
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < SMALL:
        return torch.empty(shape, dtype=dtype, device="cpu")
    return torch.from_numpy(np.asarray(_Block(nbytes))).view(dtype).view(shape)


def scratch(nbytes: int) -> torch.Tensor:
    """Bytes for what a thread does next, aligned to 64: the same ones at each call, for they are in the caches.

    They are for the caller as long as it keeps them and asks for no others.
    """
    if nbytes > LARGEST_SCRATCH:
        return empty((nbytes,), torch.uint8)
    if len(getattr(_own, "scratch", ())) < nbytes:
        _own.scratch = empty((max(nbytes, SMALL),), torch.uint8)
    return _own.scratch


def readable(x: torch.Tensor) -> torch.Tensor:
    """A tensor on the CPU whose memory holds its numbers, aligned to their size, as a kernel reads them by address.

    Raises:
        ValueError: it is on another device, or not stored as an array.
    """
    if x.device.type != "cpu" or x.layout != torch.strided:
        raise ValueError(f"expected a dense tensor on the CPU, got {x.layout} on {x.device}: use .to_dense(), .cpu()")
    if x.is_neg():  # a view that stands for the negative of what is in memory
        x = x.resolve_neg()
    return x if x.data_ptr() % x.element_size() == 0 else x.clone()


def available(device: torch.device) -> int | None:
    """Bytes that can be had on a device now; None if nobody knows."""
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserved
    return _limits.memory()


def demand(per_datum: int, n: int, fixed: int, device: torch.device) -> None:
    """Raise a MemoryError, with what would fit, unless n data's results and a fixed amount can be allocated."""
    # What is kept serves again; where its blocks do not fit, less than KEPT goes unforeseen.
    kept = sum(map(_nbytes, list(_free))) if device.type == "cpu" else 0
    if per_datum * n + fixed < max(NEGLIGIBLE, kept):
        return
    free = available(device)
    if free is None or per_datum * n + fixed <= free:
        return
    fit = (free - fixed) // per_datum
    advice = (
        f"pass at most {fit} data at a time" if fit > 0 else "not even one datum fits: a smaller L, s or v is needed"
    )
    raise MemoryError(
        f"evidence: {n} data of this grammar need {(per_datum * n + fixed) / 2**30:.2f} GiB on {device}, "
        f"{free / 2**30:.2f} GiB are free; {advice}"
    )


def chunk(g: Grammar, dtype: torch.dtype, n: int) -> int:
    """How many of n data to infer at once, so that a quarter of the free memory holds what inference makes of them."""
    per_datum = 5 * dtype.itemsize * sum(g.num_nodes(level) * g.num_symbols(level) for level in range(g.L + 1))
    free = available(g.device)
    return n if free is None else max(1, min(n, free // 4 // per_datum))
