"""What weights of the rules cost: each function on a grammar with Zipf's weights beside uniform rules, in one run.

    python benchmarks/weights.py

Both grammars have the same rules and both get evidence of strings of their own, made alike; they take turns. Processor
time of one thread; ratios are medians over the rounds.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from cpu import CASES, FOLDER, TINY, Case, provenance, take_turns, write_json

import hierlib as hl
from hierlib import _paths

EXPONENT = 1.0  # of Zipf's law


def contenders(case: Case, exponent: float | None) -> dict:
    """The functions that go through the rules, on a grammar whose rules are uniform (None) or have Zipf's weights."""
    rng = torch.Generator().manual_seed(0)
    weights = None if exponent is None else hl.zipf(case.m, exponent)
    g = hl.random_grammar(v=case.v, m=case.m, s=case.s, L=case.L, weights=weights, generator=rng)
    x = hl.sample(g, case.batch, generator=rng)
    e = hl.epsilon_evidence(x[0], eps=0.5, v=case.v)
    return {
        "infer": lambda: hl.infer(g, e),
        "infer, marginals only": lambda: hl.infer(g, e, messages=False),
        "class_posterior": lambda: hl.class_posterior(g, e),
        "posterior_sample": lambda: hl.posterior_sample(g, e, generator=rng),
        "epsilon_overlap": lambda: hl.epsilon_overlap(g, x, eps=0.5),
        "next_leaf": lambda: hl.next_leaf(g, e),
        "sample": lambda: hl.sample(g, case.batch, generator=rng),
    }


def measure(case: Case, rounds: int) -> dict:
    """Times of one case, and how many times those of uniform rules the weighted ones are."""
    kinds = {"uniform": contenders(case, None), "weighted": contenders(case, EXPONENT)}
    runs = {(name, kind): (kinds[kind][name], case.batch) for name in kinds["uniform"] for kind in kinds}
    times = take_turns(runs, rounds)
    ratios = {name: np.array(times[name, "weighted"]) / np.array(times[name, "uniform"]) for name in kinds["uniform"]}
    return {
        "parameters": {**{name: getattr(case, name) for name in ("v", "m", "s", "L", "batch")}, "zipf": EXPONENT},
        "microseconds_per_datum": {
            kind: {name: float(np.median(times[name, kind])) for name in kinds[kind]} for kind in kinds
        },
        "times_uniform": {
            name: {"median": float(np.median(r)), "min": float(r.min()), "max": float(r.max())}
            for name, r in ratios.items()
        },
    }


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each contender runs.")] = 41,
    tiny: Annotated[bool, typer.Option(help="A toy size, to see that the benchmark works.")] = False,
    out: Annotated[Path, _paths.option(help="The result file.")] = FOLDER / "results" / "weights.json",
) -> None:
    """Measure, print, and write the result file."""
    torch.set_num_threads(1)
    result = {"provenance": provenance([]), "cases": {}}
    words = ["python benchmarks/weights.py", *["--tiny"] * tiny, f"--rounds {rounds}"]
    result["provenance"]["command"] = " ".join(words)
    for title, case in (TINY if tiny else CASES).items():
        result["cases"][title] = found = measure(case, rounds)
        told = ", ".join(f"{name} {ratio['median']:.2f}" for name, ratio in found["times_uniform"].items())
        print(f"{title}, weighted over uniform: {told}", flush=True)
    write_json(out, result)
    print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
