"""How time and memory grow with the tree, the grammar and the batch: `hl.infer(…, messages=False)` on one thread.

    python benchmarks/scaling.py

Time is the processor time of calls that follow one of the same shape, as in a stream of data. On the axis of d every
call has the same number of leaves, so many data of a small tree or few of a large one: memory stays bounded, and what
is compared is always full vectors. The points of an axis take turns, so that a slower minute tilts no exponent.
Memory is the growth of the peak of a fresh process, one for each point.

Batches: whether a number of data that is no whole number of tiles costs more. The batches take turns, and each turn's
time a datum is divided by that of 128 data in the same turn; `--batches-alone` measures this and keeps the rest.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch

import json
import multiprocessing
import sys
import time
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from cpu import FOLDER, _peak, provenance, write_json

import hierlib as hl
from hierlib import _paths
from hierlib._kernels.compiled.normal import fill_normal
from hierlib.book.runs.benchmarks import EXPONENTS, exponent, messages_per_datum
from hierlib.experiments.uturns import level_curves


class Point(NamedTuple):
    v: int
    m: int
    s: int
    L: int
    batch: int
    calls: int = 1  # on data of the same shape, the results dropped after each

    @property
    def leaves(self) -> int:
        return self.s**self.L

    @property
    def work(self) -> tuple[int, int]:
        return messages_per_datum(v=self.v, m=self.m, s=self.s, L=self.L)


def of_leaves(leaves: int, v: int, m: int, s: int, L: int) -> Point:
    """So many data that they have about so many leaves together."""
    return Point(v, m, s, L, max(1, leaves // s**L))


A, B = 2**21, 2**18  # leaves a call; 2**21 are 32 of the largest trees
TIMES = {
    "d": [of_leaves(A, 32, 8, 2, L) for L in range(4, 17, 2)],
    "m": [of_leaves(B, 64, m, 2, 8) for m in (1, 2, 4, 8, 16, 32, 64)],
    "v": [of_leaves(B, v, 8, 2, 8) for v in (8, 16, 32, 64, 128, 256)],
    "s": [of_leaves(B, 32, 32, s, L) for s, L in ((2, 8), (3, 5), (4, 4), (5, 3), (6, 3), (8, 3))],
    "batch": [Point(32, 8, 2, 8, 2**k, max(1, 2**7 >> k)) for k in range(13)],
}
MEMORY = {
    "d": [Point(32, 8, 2, L, 64) for L in range(8, 17, 2)],  # a vector of 256 bytes is 64 data
    "m": [Point(32, m, 2, 10, 128) for m in (1, 8, 32)],
    "batch": [Point(32, 8, 2, 10, 2**k) for k in range(4, 12, 2)],
    "stream": [Point(32, 8, 2, 10, 1024, calls) for calls in (1, 4, 16)],
}
TINY_TIMES = {
    "d": [of_leaves(2**8, 4, 2, 2, L) for L in (2, 3, 4)],
    "batch": [Point(4, 2, 2, 3, n) for n in (1, 4, 16)],
}
TINY_MEMORY = {"d": [Point(4, 2, 2, 4, 32)]}
# The slice of figure 5 that chapter 3 computes most of, and a toy one
FIGURE = dict(v=32, m=8, s=2, L=10, draws=4, data=4, t=np.geomspace(0.02, 1, 24).tolist())
TINY_FIGURE = dict(v=4, m=2, s=2, L=3, draws=2, data=2, t=[0.1, 0.3])


# As many data as fill tiles, or not
BATCHES = (1, 2, 4, 8, 16, 32, 33, 48, 64, 96, 128, 130, 256, 512)
BATCHED = [Point(32, 8, 2, 10, 128), Point(16, 8, 3, 6, 128)]
TINY_BATCHES, TINY_BATCHED = (1, 3, 4), [Point(4, 2, 2, 3, 4)]


@cache
def grammar(v: int, m: int, s: int, L: int) -> hl.Grammar:
    return hl.random_grammar(v=v, m=m, s=s, L=L, generator=torch.Generator().manual_seed(0))


def problem(p: Point) -> tuple[hl.Grammar, torch.Tensor]:
    """The grammar of a point, and the evidence of its data."""
    g = grammar(p.v, p.m, p.s, p.L)
    x = hl.sample(g, p.batch, generator=torch.Generator().manual_seed(1))
    return g, hl.epsilon_evidence(x[0], eps=0.5, v=p.v)


def microseconds(p: Point) -> float:
    """Processor time a datum, after one call that compiles and finds memory."""
    g, e = problem(p)
    hl.infer(g, e, messages=False, backend="cpu")
    start = time.process_time()
    for _ in range(p.calls):
        hl.infer(g, e, messages=False, backend="cpu")
    return (time.process_time() - start) / (p.batch * p.calls) * 1e6


def measure_times(axes: dict[str, list[Point]], rounds: int) -> dict[str, list[dict]]:
    """Every point of every axis once a round."""
    found = {axis: [[] for _ in points] for axis, points in axes.items()}
    for axis, points in axes.items():
        for turn in range(rounds + 1):  # the first turn warms up
            for p, times in zip(points, found[axis], strict=True):
                spent = microseconds(p)
                if turn:
                    times.append(spent)
    return {
        axis: [
            {
                "parameters": p._asdict(),
                "leaves": p.leaves,
                "messages": p.work[0],
                "factors": p.work[1],
                "microseconds_per_datum": spread(t),
            }
            for p, t in zip(points, found[axis], strict=True)
        ]
        for axis, points in axes.items()
    }


def measure_memory(axes: dict[str, list[Point]]) -> dict[str, list[dict]]:
    """Peak memory of each point, beside the size of what is returned."""
    found = {}
    for axis, points in axes.items():
        found[axis] = []
        for p in points:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                grown = pool.apply(_growth, (p,))
            numbers = p.batch * p.v * sum(p.s ** (p.L - level) for level in range(p.L + 1))
            found[axis].append(
                {
                    "parameters": p._asdict(),
                    "leaves": p.leaves,
                    "peak_growth_MiB": grown,
                    "marginals_MiB": numbers * 4 / 2**20,
                    "evidence_MiB": p.batch * p.v * p.leaves * 4 / 2**20,
                }
            )
    return found


def _growth(p: Point) -> float:
    """How much the peak of this process grows from before the first call to after the last, in MiB."""
    torch.set_num_threads(1)
    g, e = problem(p)
    small = hl.random_grammar(v=2, m=1, s=p.s, L=2, generator=torch.Generator().manual_seed(0))
    hl.infer(small, torch.ones(2, small.d, 2), messages=False, backend="cpu")  # compiled code is not the data's
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _peak()
    for _ in range(p.calls):
        hl.infer(g, e, messages=False, backend="cpu")
    return _peak() - before


def measure_figure(v, m, s, L, draws, data, t, rounds: int) -> dict:
    """Seconds that a slice of figure 5 takes with plain torch and with the compiled kernels, by turns."""
    seconds = {"torch": [], "cpu": []}
    for turn in range(rounds + 1):
        for backend, times in seconds.items():
            rng = torch.Generator().manual_seed(0)
            start = time.process_time()
            level_curves(
                hl.GaussianNoise(v), t, v=v, m=m, s=s, L=L, draws=draws, data=data, generator=rng, backend=backend
            )
            if turn:
                times.append(time.process_time() - start)
    return {
        "what": "experiments.uturns.level_curves: Gaussian noise, its evidence, inference, means over the levels",
        "parameters": dict(v=v, m=m, s=s, L=L, draws=draws, data=data, noise_levels=len(t)),
        "seconds": {name: spread(x) for name, x in seconds.items()},
        "times_faster": float(np.median(np.array(seconds["torch"]) / np.array(seconds["cpu"]))),
    }


def measure_noise(p: Point, rounds: int) -> dict:
    """Microseconds a datum of diffusing the leaves, of the evidence for what is seen then, of inference; by turns.

    Beside them the time of the normal numbers alone, as torch makes them and as hierlib makes the same ones.
    """
    g, noise, rng = grammar(p.v, p.m, p.s, p.L), hl.GaussianNoise(p.v), torch.Generator().manual_seed(0)
    x0 = hl.sample(g, p.batch, generator=rng)[0]
    seen = noise.corrupt(x0, 0.1, generator=rng)
    evidence = noise.evidence(seen, 0.1)
    numbers = torch.empty(seen.numel())
    steps = {
        "normal numbers, torch": lambda: numbers.normal_(generator=rng),
        "normal numbers, hierlib": lambda: fill_normal(numbers, rng),
        "corrupt": lambda: noise.corrupt(x0, 0.1, generator=rng),
        "evidence": lambda: noise.evidence(seen, 0.1),
        "infer": lambda: hl.infer(g, evidence, messages=False, backend="cpu"),
    }
    spent = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if turn:
                spent[name].append((time.process_time() - start) / p.batch * 1e6)
    return {"parameters": p._asdict(), "microseconds_per_datum": {name: spread(x) for name, x in spent.items()}}


def measure_batches(p: Point, batches: tuple[int, ...], rounds: int) -> dict:
    """Microseconds a datum of each function for each number of data, and the ratio to those of p's batch in each turn.

    Of both the least is of interest on a machine that others use too: the lower quartile is reported beside the median.
    """
    g, noise, rng = grammar(p.v, p.m, p.s, p.L), hl.GaussianNoise(p.v), torch.Generator().manual_seed(0)
    x = hl.sample(g, max(batches), generator=rng)
    data = {n: [level[:n].clone() for level in x] for n in batches}
    seen = {n: hl.epsilon_evidence(data[n][0], eps=0.5, v=p.v) for n in batches}
    functions = {
        "infer": lambda n: hl.infer(g, seen[n], backend="cpu"),
        "infer, marginals only": lambda n: hl.infer(g, seen[n], messages=False, backend="cpu"),
        "class_posterior": lambda n: hl.class_posterior(g, seen[n], backend="cpu"),
        "posterior_sample": lambda n: hl.posterior_sample(g, seen[n], generator=rng, backend="cpu"),
        "epsilon_overlap": lambda n: hl.epsilon_overlap(g, data[n], eps=0.5, backend="cpu"),
        "Gaussian noise": lambda n: noise.evidence(noise.corrupt(data[n][0], 0.1, generator=rng), 0.1),
    }
    found: dict[str, dict[int, list[float]]] = {name: {n: [] for n in batches} for name in functions}
    for name, function in functions.items():
        for turn in range(rounds + 1):
            for n in batches:
                calls = max(1, p.batch // n)
                function(n)  # after another number of data, memory has to be found again
                start = time.process_time()
                for _ in range(calls):
                    function(n)
                if turn:
                    found[name][n].append((time.process_time() - start) / (calls * n) * 1e6)
    return {
        "parameters": dict(v=p.v, m=p.m, s=p.s, L=p.L, of=p.batch),
        "batch": list(batches),
        "microseconds_per_datum": {
            name: [spread(t) | {"lower_quartile": float(np.quantile(t, 0.25))} for t in times.values()]
            for name, times in found.items()
        },
        "times_that_of_the_whole": {
            name: [spread((np.array(t) / times[p.batch]).tolist()) for t in times.values()]
            for name, times in found.items()
        },
    }


def add_batches(result: dict, made: dict, tiny: bool, rounds: int) -> None:
    """Measure the table of batches and print it."""
    points, batches = (TINY_BATCHED, TINY_BATCHES) if tiny else (BATCHED, BATCHES)
    found = [measure_batches(p, batches, rounds) for p in points]
    for table in found:
        print("times a datum in 128 costs, by batch:", table["parameters"], table["batch"])
        for name, ratios in table["times_that_of_the_whole"].items():
            print(f"  {name}: {', '.join(format(ratio['median'], '.2f') for ratio in ratios)}")
    result["batches"] = {"provenance": made, "tables": found}


def spread(x: list[float]) -> dict[str, float]:
    return {"median": float(np.median(x)), "min": min(x), "max": max(x)}


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each point is timed.")] = 7,
    tiny: Annotated[bool, typer.Option(help="Toy sizes, to see that the benchmark works.")] = False,
    batches_alone: Annotated[
        bool, typer.Option(help="Measure the table of batches; the rest of the file stays.")
    ] = False,
    out: Annotated[Path, _paths.option(help="The result file.")] = FOLDER / "results" / "scaling.json",
) -> None:
    """Measure, print the exponents, and write the result file."""
    torch.set_num_threads(1)
    made = provenance([])
    options = ["--tiny"] * tiny + ["--batches-alone"] * batches_alone
    made["command"] = " ".join(["python benchmarks/scaling.py", *options, f"--rounds {rounds}"])
    if batches_alone:
        result = json.loads(out.read_text("utf-8"))
        add_batches(result, made, tiny, rounds)
        write_json(out, result)
        print(f"written: {out}")
        return
    result = {"provenance": made, "time": measure_times(TINY_TIMES if tiny else TIMES, rounds)}
    for axis, rows in result["time"].items():
        median = [row["microseconds_per_datum"]["median"] for row in rows]
        for row, spent in zip(rows, median, strict=True):
            print(f"  {axis}: {', '.join(f'{k}={x}' for k, x in row['parameters'].items())}: {spent:.2f} µs a datum")
        if axis in EXPONENTS:
            print(f"exponent of {EXPONENTS[axis]} along {axis}: {exponent(rows, axis)}")
    if sys.platform == "linux":
        result["memory"] = measure_memory(TINY_MEMORY if tiny else MEMORY)
        for axis, rows in result["memory"].items():
            for row in rows:
                print(f"  memory, {axis}: {row['parameters']}: {row['peak_growth_MiB']:.1f} MiB")
    result["book"] = measure_figure(**(TINY_FIGURE if tiny else FIGURE), rounds=min(rounds, 5))
    print("a slice of figure 5:", {k: round(x["median"], 2) for k, x in result["book"]["seconds"].items()}, "s")
    result["noise"] = measure_noise(Point(4, 2, 2, 3, 8) if tiny else Point(32, 8, 2, 10, 128), rounds)
    print("noise:", {k: round(x["median"], 2) for k, x in result["noise"]["microseconds_per_datum"].items()}, "µs")
    add_batches(result, made, tiny, rounds)
    write_json(out, result)
    print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
