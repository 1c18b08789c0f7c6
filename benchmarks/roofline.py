"""How near inference comes to this machine's limits, all measured in one run: L1 loads, multiply-adds, memory.

    python benchmarks/roofline.py

The limit of a case is the largest of three times: that of loading every operand of the sums over rules from L1, of
multiplying and adding them, and of reading the evidence and writing the marginals once through main memory. It is
one of throughput, as if every lane of every vector held a datum.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from cpu import CASES, FOLDER, TINY, provenance, write_json
from numba import njit

import hierlib as hl
from hierlib import _paths
from hierlib._kernels import memory
from hierlib._kernels.compiled.simd import LANE_BYTES, fma, load, put, splat, stream

CHAINS = 8
L1, MEMORY = 2**14, 2**28  # bytes
TILE = "evidence is read twice; the upward messages of a tile, {tile:.1f} MB, go through the outer caches"
BOUND = {  # what else a case pays for
    "paper": TILE,
    "three children": TILE,
    "many data": "the rows of a tile are 4 KB apart, each in a page of its own; sums over 4 rules are short",
    "one datum": "the limit is one of throughput, but of a single tree the upper levels cannot fill the lanes, every "
    "belief has to be transposed, and a call costs about 0.1 ms in Python",
}


@njit
def read(real, address, size, repeats, result):
    a = b = c = d = e = f = g = h = splat(real, 0)
    for _ in range(repeats):
        for i in range(address, address + size, CHAINS * LANE_BYTES):
            a, b = a + load(real, i), b + load(real, i + LANE_BYTES)
            c, d = c + load(real, i + 2 * LANE_BYTES), d + load(real, i + 3 * LANE_BYTES)
            e, f = e + load(real, i + 4 * LANE_BYTES), f + load(real, i + 5 * LANE_BYTES)
            g, h = g + load(real, i + 6 * LANE_BYTES), h + load(real, i + 7 * LANE_BYTES)
    put(result, a + b + c + d + e + f + g + h)


@njit
def multiply_add(real, address, repeats, result):
    k = load(real, address)  # read, not written here: of constants the compiler would know the result
    a, b, c, d = k, k + k, k * k, k + k * k
    e, f, g, h = a + d, b + d, c + d, d + d
    for _ in range(repeats):
        a, b, c, d = fma(a, k, k), fma(b, k, k), fma(c, k, k), fma(d, k, k)
        e, f, g, h = fma(e, k, k), fma(f, k, k), fma(g, k, k), fma(h, k, k)
    put(result, a + b + c + d + e + f + g + h)


@njit
def write(real, address, size):
    x = splat(real, 1)
    for i in range(address, address + size, LANE_BYTES):
        stream(i, x)


def rate(work, amount: float, rounds: int = 7) -> float:
    """Amount per second of processor time, the median over rounds."""
    work()
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return amount / float(np.median(seconds))


def ceilings(size: int = MEMORY) -> dict[str, float]:
    """Bytes, and single-precision multiply-adds, per second of one thread; memory is a block of this many bytes."""
    real, raw = np.float32(0), memory.empty((size,), torch.uint8).fill_(0)
    raw.view(torch.float32).fill_(0.5)
    result, at, turns = memory.empty((2**17,), torch.uint8), raw.data_ptr(), 20000
    end = result.data_ptr()
    return {
        "L1_bytes": rate(lambda: read(real, at, L1, turns, end), L1 * turns),
        "multiply_adds": rate(lambda: multiply_add(real, at, turns * 50, end), turns * 50 * CHAINS * LANE_BYTES / 4),
        "memory_read_bytes": rate(lambda: read(real, at, size, 1, end), size),
        "memory_write_bytes": rate(lambda: write(real, at, size), size),
    }


def main(
    tiny: Annotated[bool, typer.Option(help="A toy size, to see that the benchmark works.")] = False,
    out: Annotated[Path, _paths.option(help="The result file.")] = FOLDER / "results" / "roofline.json",
) -> None:
    """Measure, print, and write the result file."""
    torch.set_num_threads(1)
    rng, result = torch.Generator().manual_seed(0), {"provenance": provenance([]), "cases": {}}
    result["provenance"]["command"] = " ".join(["python benchmarks/roofline.py", *["--tiny"] * tiny])
    result["ceilings_per_second"] = top = ceilings(2**22 if tiny else MEMORY)
    for title, (v, m, s, L, n, _) in (TINY if tiny else CASES).items():
        g = hl.random_grammar(v=v, m=m, s=s, L=L, generator=rng)
        e = hl.epsilon_evidence(hl.sample(g, n, generator=rng)[0], eps=0.5, v=v)
        inner, nodes = (g.d - 1) // (s - 1), sum(g.num_nodes(level) for level in range(L + 1))
        products = (1 + s) * inner * v * m  # up, and down to each child
        limit = {
            "L1": products * s * 4 / top["L1_bytes"] * 1e6,
            "multiply-adds": products * (s - 1) / top["multiply_adds"] * 1e6,
            "memory": (g.d / top["memory_read_bytes"] + nodes / top["memory_write_bytes"]) * v * 4 * 1e6,
        }
        spent = 1e6 / rate(lambda g=g, e=e: hl.infer(g, e, messages=False), n)
        times = spent / max(limit.values())
        result["cases"][title] = {
            "microseconds": spent,
            "limits_microseconds": limit,
            "times_the_limit": times,
            "what_else_it_pays_for": BOUND.get(title, TILE).format(tile=inner * (v + 1) * LANE_BYTES / 1e6),
        }
        print(f"{title}: {spent:.1f} µs a datum, {times:.1f} × the limit", {k: round(x, 2) for k, x in limit.items()})
    write_json(out, result)


if __name__ == "__main__":
    typer.run(main)
