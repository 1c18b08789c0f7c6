"""Normal noise on the CPU: the numbers of torch's own generator, the same bits, in a third of the time.

torch draws them one after the other from a Mersenne twister, which takes most of the time; to turn them into
normal numbers is quick. Here the twister's words are made many at once, in loops that LLVM turns into vector
instructions. Where torch computes otherwise than here (another build or processor), torch itself is asked.
"""

from __future__ import annotations

import math
import threading
from functools import cache

import numpy as np
import torch
from llvmlite import ir
from numba import float32
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import Tensor

from hierlib._kernels.compiled.layout import Int, compiled, entry
from hierlib._kernels.compiled.simd import Builder, Context, Float, Lowered, Signature, Typing, Value, Values

Floats = NDArray[np.float32]
Words = NDArray[np.uint32]
WORDS, AHEAD = 624, 397  # the twister's state, and how far ahead its recurrence looks
CHUNK = 4096  # uniform numbers that wait in the cache to be made normal
NEXT = 8 + 4 + 4  # where torch's copy of its state says which word is next; before it the seed, how many are left, …
FEW = 2**12  # below this torch is as fast
_lock = threading.Lock()


def fill_normal(x: Tensor, generator: torch.Generator | None) -> None:
    """Fill a contiguous tensor with what ``x.normal_(generator=generator)`` would; the generator moves on alike."""
    long = x.dtype == torch.float32 and x.numel() >= FEW and x.is_contiguous()
    if long and generator is not None and generator.device.type == "cpu" and is_that_of_torch():
        _fill(x, generator)
    else:
        x.normal_(generator=generator)


@cache
def is_that_of_torch() -> bool:
    """Whether `fill_normal` would give the same bits and leave the generator in the same state: tried, once."""
    one, other = (torch.Generator().manual_seed(0) for _ in range(2))
    for size in (16 * WORDS, 1000 + 7):
        x = torch.empty(size, dtype=torch.float32, device="cpu")
        try:
            _fill(x, one)
        except (RuntimeError, ValueError):  # its state looks otherwise
            return False
        y = torch.empty(size, dtype=torch.float32, device="cpu").normal_(generator=other)
        if not torch.equal(x.view(torch.int32), y.view(torch.int32)) or one.get_state().ne(other.get_state()).any():
            return False
    return True


def _fill(x: Tensor, generator: torch.Generator) -> None:
    with _lock:
        state = generator.get_state()
        run_normal(x.view(-1).numpy(), state.numpy()[NEXT : NEXT + 8 * (WORDS + 1)].view(np.uint64))
        left = WORDS + 1 - state[NEXT : NEXT + 8].view(torch.int64)
        state[8:12] = left.to(torch.int32).view(torch.uint8)
        generator.set_state(state)


@entry
def run_normal(x: Floats, state: NDArray[np.uint64]) -> None:
    """Fill x; state: the number of the next word, then all words, changed as torch's own would be."""
    words = np.empty(WORDS, np.uint32)
    for i in range(WORDS):
        words[i] = state[1 + i]
    place = np.int64(state[0]) if state[0] > 0 else WORDS  # 0: of a new generator, of which no word is made yet
    end = len(x) // 16 * 16
    for start in range(0, end, CHUNK):
        part = x[start : min(start + CHUNK, end)]
        place = uniform(part, words, place)
        normal(part)
    if end < len(x):  # the last 16 numbers are drawn again
        place = uniform(x[end:], words, place)
        place = uniform(x[len(x) - 16 :], words, place)
        normal(x[len(x) - 16 :])
    state[0] = place
    for i in range(WORDS):
        state[1 + i] = words[i]


@compiled
def uniform(x: Floats, words: Words, place: Int) -> Int:
    """Fill x with the generator's next numbers in [0, 1), of 24 bits each; returns which word is next."""
    done: Int = 0
    while done < len(x):
        if place == WORDS:
            twist(words)
            place = 0
        count = min(len(x) - done, WORDS - place)
        temper(x[done : done + count], words[place : place + count])
        done, place = done + count, place + count
    return place


@compiled
def temper(x: Floats, words: Words) -> None:
    for i in range(len(words)):
        y = words[i]
        y = np.uint32(y ^ (y >> np.uint32(11)))
        y = np.uint32(y ^ (np.uint32(y << np.uint32(7)) & np.uint32(0x9D2C5680)))
        y = np.uint32(y ^ (np.uint32(y << np.uint32(15)) & np.uint32(0xEFC60000)))
        y = np.uint32(y ^ (y >> np.uint32(18)))
        x[i] = np.float32(np.int32(y & np.uint32(2**24 - 1))) * np.float32(2**-24)


@compiled
def twist(words: Words) -> None:
    """The next 624 words of the Mersenne twister MT19937, in stretches in which none needs another of the same."""
    behind = WORDS - AHEAD
    for start, end, other in ((0, behind, AHEAD), (behind, 2 * behind, -behind), (2 * behind, WORDS - 1, -behind)):
        for i in range(start, end):
            words[i] = words[i + other] ^ mixed(words[i], words[i + 1])
    words[WORDS - 1] = words[AHEAD - 1] ^ mixed(words[WORDS - 1], words[0])


@compiled
def mixed(high: np.uint32, low: np.uint32) -> np.uint32:
    both = np.uint32((high & np.uint32(0x80000000)) | (low & np.uint32(0x7FFFFFFF)))
    return np.uint32((both >> np.uint32(1)) ^ (np.uint32(0) - (low & np.uint32(1)) & np.uint32(0x9908B0DF)))


@compiled
def normal(x: Floats) -> None:
    """Box and Muller: of 16 uniform numbers, the first 8 give radii, the others angles."""
    one, turn, zero = np.float32(1), np.float32(2 * math.pi), np.float32(0)
    a, b = np.empty(len(x) // 2, np.float32), np.empty(len(x) // 2, np.float32)
    swap_eights(x, a, b, False)
    for i in range(len(a)):
        radius = np.float32(math.sqrt(np.float32(-2) * logarithm(one - a[i])))
        sine, cosine = sine_cosine(turn * b[i])
        a[i], b[i] = radius * cosine + zero, radius * sine + zero
    swap_eights(x, a, b, True)


@compiled
def swap_eights(x: Floats, a: Floats, b: Floats, back: bool) -> None:
    """Between x and its eights, in turn those of a and b."""
    eight = np.uint64(8)
    for k in range(np.uint64(0), np.uint64(len(a)), eight):  # unsigned: no index counts from the end
        for i in range(eight):
            if back:
                x[2 * k + i] = a[k + i]
                x[2 * k + eight + i] = b[k + i]
            else:
                a[k + i] = x[2 * k + i]
                b[k + i] = x[2 * k + eight + i]


@intrinsic
def fma(typing: Typing, x: Float, y: Float, z: Float) -> Lowered:
    """x·y + z, rounded once."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Values) -> Value:
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType()] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.f32"), args)

    return float32(float32, float32, float32), codegen


@compiled
def logarithm(x: np.float32) -> np.float32:
    """Cephes' logf for normal x > 0, in the order in which torch rounds."""
    bits = np.float32(x).view(np.int32)
    exponent = np.float32(np.int32(bits >> np.int32(23)) - np.int32(126))
    x = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000)).view(np.float32)
    small = x < np.float32(0.70710678)
    exponent -= np.float32(1) if small else np.float32(0)
    x = (x - np.float32(1)) + (x if small else np.float32(0))
    z = x * x
    y = np.float32(7.0376836292e-2)
    y = fma(y, x, np.float32(-1.1514610310e-1))
    y = fma(y, x, np.float32(1.1676998740e-1))
    y = fma(y, x, np.float32(-1.2420140846e-1))
    y = fma(y, x, np.float32(1.4249322787e-1))
    y = fma(y, x, np.float32(-1.6668057665e-1))
    y = fma(y, x, np.float32(2.0000714765e-1))
    y = fma(y, x, np.float32(-2.4999993993e-1))
    y = fma(y, x, np.float32(3.3333331174e-1))
    y = fma(y * x, z, exponent * np.float32(-2.12194440e-4))
    y = fma(z, np.float32(-0.5), y)
    return fma(exponent, np.float32(0.693359375), x + y)


@compiled
def sine_cosine(x: np.float32) -> tuple[np.float32, np.float32]:
    """Cephes' sinf and cosf for x in [0, 2π], in the order in which torch rounds."""
    octant = np.int32((np.int32(x * np.float32(1.27323954473516)) + np.int32(1)) & np.int32(~1))
    y = np.float32(octant)
    x = fma(y, np.float32(-0.78515625), x)
    x = fma(y, np.float32(-2.4187564849853515625e-4), x)
    x = fma(y, np.float32(-3.77489497744594108e-8), x)
    z = x * x
    cosine = fma(np.float32(2.443315711809948e-5), z, np.float32(-1.388731625493765e-3))
    cosine = fma(cosine, z, np.float32(4.166664568298827e-2))
    cosine = fma(cosine * z, z, z * np.float32(-0.5)) + np.float32(1)
    sine = fma(np.float32(-1.9515295891e-4), z, np.float32(8.3321608736e-3))
    sine = fma(sine, z, np.float32(-1.6666654611e-1))
    sine = fma(sine * z, x, x)
    straight = (octant & np.int32(2)) == 0
    first, second = (sine, cosine) if straight else (cosine, sine)
    first_sign = np.int32(np.int32(octant & np.int32(4)) << np.int32(29))
    second_sign = np.int32(np.int32(~np.int32(octant - np.int32(2)) & np.int32(4)) << np.int32(29))
    return (
        np.int32(np.float32(first).view(np.int32) ^ first_sign).view(np.float32),
        np.int32(np.float32(second).view(np.int32) ^ second_sign).view(np.float32),
    )
