"""What the next leaf costs beside one inference, and what all prefixes cost beside an inference each, in one run.

    python benchmarks/next_leaf.py

`next_leaf` takes turns with `infer(…, messages=False)` on the same evidence, and is compared with an inference of every
prefix, of which some are timed: all take as long as each other. The price of unmasking calls the exact denoiser once a
round, in float64. Processor time of one thread; ratios are medians over the rounds.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from cpu import FOLDER, provenance, take_turns, write_json

import hierlib as hl
from hierlib import _paths, unmask


class Case(NamedTuple):
    """A grammar and a batch; prefixes: how many of them are timed; masks: rounds of unmasking that are priced."""

    v: int
    m: int
    s: int
    L: int
    batch: int
    prefixes: int = 4
    masks: int = 8


CASES = {
    "paper": Case(32, 8, 2, 10, 128),
    "three children": Case(16, 8, 3, 6, 128),
    "many data": Case(16, 4, 2, 7, 1024),
    "one datum": Case(32, 8, 2, 10, 1, 32),
}
TINY = {"tiny": Case(4, 2, 2, 3, 8)}


def measure(case: Case, rounds: int) -> dict:
    """Times of one case, and their ratios; before that, places where both say the same are compared."""
    rng = torch.Generator().manual_seed(0)
    g = hl.random_grammar(**{name: getattr(case, name) for name in ("v", "m", "s", "L")}, generator=rng)
    x = hl.sample(g, case.batch, generator=rng)[0]
    e = hl.epsilon_evidence(x, eps=0.5, v=case.v)
    places = torch.linspace(0, g.d - 1, case.prefixes).long().tolist()
    prefixes = [torch.where(torch.arange(g.d)[:, None] < place, e, 1 / case.v) for place in places]
    prefixes = [one.permute(1, 2, 0).contiguous().permute(2, 0, 1) for one in prefixes]  # as evidence is laid out
    told = hl.next_leaf(g, e)
    marginals = [hl.infer(g, one, messages=False).marginals[0] for one in prefixes]
    worst = max(float((told[:, p] - b[:, p]).abs().max()) for p, b in zip(places, marginals, strict=True))
    log_p = hl.log_probability(g, x)
    runs = {
        "next_leaf": (lambda: hl.next_leaf(g, e), 1),
        "infer, marginals only": (lambda: hl.infer(g, e, messages=False), 1),
        "infer, every prefix": (lambda: [hl.infer(g, one, messages=False) for one in prefixes], g.d / case.prefixes),
        "next_leaf, plain torch": (lambda: hl.next_leaf(g, e, backend="torch"), 1),
        "infer, plain torch": (lambda: hl.infer(g, e, messages=False, backend="torch"), 1),
        "price": (
            lambda: unmask.price(
                lambda seen: hl.infer(g, seen, messages=False).marginals[0],
                x,
                unmask.strided(g.d, case.masks),
                case.masks,
                log_p,
                v=case.v,
            ),
            1 / case.masks,
        ),
    }
    times = take_turns({name: (work, case.batch / factor) for name, (work, factor) in runs.items()}, rounds)

    def ratio(a: str, b: str) -> float:
        return float(np.median(np.array(times[a]) / np.array(times[b])))

    return {
        "parameters": case._asdict(),
        "microseconds_per_datum": {name: float(np.median(each)) for name, each in times.items()},
        "largest_difference": worst,
        "times_infer": ratio("next_leaf", "infer, marginals only"),
        "times_infer_plain_torch": ratio("next_leaf, plain torch", "infer, plain torch"),
        "times_faster_than_every_prefix": ratio("infer, every prefix", "next_leaf"),
        "price_a_round_times_infer": ratio("price", "infer, marginals only"),
    }


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each contender runs.")] = 7,
    tiny: Annotated[bool, typer.Option(help="A toy size, to see that the benchmark works.")] = False,
    out: Annotated[Path, _paths.option(help="The result file.")] = FOLDER / "results" / "next_leaf.json",
) -> None:
    """Measure, print, and write the result file."""
    torch.set_num_threads(1)
    result = {"provenance": provenance([]), "cases": {}}
    words = ["python benchmarks/next_leaf.py", *["--tiny"] * tiny, f"--rounds {rounds}"]
    result["provenance"]["command"] = " ".join(words)
    for title, case in (TINY if tiny else CASES).items():
        result["cases"][title] = found = measure(case, rounds)
        print(
            f"{title}: next_leaf {found['times_infer']:.2f} × infer, "
            f"{found['times_faster_than_every_prefix']:.0f} times as fast as all prefixes; "
            f"a round of price {found['price_a_round_times_infer']:.1f} × infer",
            flush=True,
        )
    write_json(out, result)
    print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
