"""Time and memory of hierlib on one GPU, and the ratio to the authors' code on the same device.

    python benchmarks/gpu.py --peer FOLDER      # a clone of AntonioScl/minimal_diffusion_rhm, see README.md

Rules and evidence lie on the device; a call is timed from its start until the device has finished. Marginals are
compared with the reference backend's, on the device, before anything is timed. Without a GPU nothing is measured and
nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from cpu import FOLDER, Case, _peer, provenance, write_json

import hierlib as hl
from hierlib import _paths

CASES = {
    "paper": Case(32, 8, 2, 10, 1024, 64),
    "paper, more data": Case(32, 8, 2, 10, 4096, 64),
    "three children": Case(16, 8, 3, 6, 4096, 64),
    "many data": Case(16, 4, 2, 7, 16384, 512),
    "one datum": Case(32, 8, 2, 10, 1, 1),
}


def measure(case: Case, peer: Path | None, rounds: int, device: torch.device) -> dict:
    """Microseconds a datum by turns, agreement with the reference, peak memory of one call."""
    rng = torch.Generator().manual_seed(0)
    g = hl.random_grammar(v=case.v, m=case.m, s=case.s, L=case.L, generator=rng)
    x = hl.sample(g, case.batch, generator=rng)[0]
    g, e = g.to(device), hl.epsilon_evidence(x.to(device), eps=0.5, v=case.v)
    draws = torch.Generator(device).manual_seed(0)
    runs: dict[str, tuple[Callable[[], object], int]] = {
        "infer": (lambda: hl.infer(g, e), case.batch),
        "infer, marginals only": (lambda: hl.infer(g, e, messages=False), case.batch),
        "infer, plain torch": (lambda: hl.infer(g, e, messages=False, backend="torch"), case.batch),
        "posterior_sample": (lambda: hl.posterior_sample(g, e, generator=draws), case.batch),
    }
    if peer is not None:
        rules = {i: g.rules[case.L - 1 - i].clone() for i in range(case.L)}  # theirs count levels from the root
        bp, few = _peer(peer)(case.v, case.s, case.m, case.L, rules, device=str(device)), case.peer_batch
        columns = e[:few].permute(2, 0, 1).reshape(case.v, -1).contiguous()
        runs["authors"] = (lambda: bp.run_BP_from_upward_messages(columns.clone()), few)
    pairs = zip(runs["infer"][0]().marginals, runs["infer, plain torch"][0]().marginals, strict=True)
    differ = max(float((a - b).abs().max()) for a, b in pairs)
    spent = {name: [] for name in runs}
    for turn in range(rounds + 1):  # the first turn compiles and warms up
        for name, (run, n) in runs.items():
            seconds = _seconds(run, device)
            if turn:
                spent[name].append(seconds / n * 1e6)
    out = {
        "parameters": case._asdict(),
        "largest_difference_from_plain_torch": differ,
        "microseconds_per_datum": {
            name: {"median": float(np.median(t)), "min": min(t), "max": max(t)} for name, t in spent.items()
        },
    }
    if peer is not None:
        out["times_faster_than_authors"] = {
            name: float(np.median(np.array(spent["authors"]) / np.array(t)))
            for name, t in spent.items()
            if name != "authors"
        }
    if device.type == "cuda":
        out["peak_memory_growth_MiB"] = {name: _growth(run, device) for name, (run, _) in runs.items()}
    return out


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    """Wall time until the device has done it all."""
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _growth(run: Callable[[], object], device: torch.device) -> float:
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    _wait(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def main(
    peer: Annotated[Path | None, _paths.option(help="A clone of the authors' code; without it no ratios.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each contender runs.")] = 20,
    out: Annotated[Path, _paths.option(help="The result file.")] = FOLDER / "results" / "gpu.json",
) -> None:
    """Measure, print a table, and write the result file."""
    if not torch.cuda.is_available():
        raise typer.BadParameter("torch sees no GPU here (torch.cuda.is_available() is False): nothing is measured")
    try:
        import triton
    except ImportError as error:
        raise typer.BadParameter("triton is missing, so there is no gpu backend: pip install 'hierlib[gpu]'") from error
    device = torch.device("cuda")
    made = provenance([])
    made |= {
        "command": f"python benchmarks/gpu.py {'--peer FOLDER ' * (peer is not None)}--rounds {rounds}",
        "device": torch.cuda.get_device_name(device),
        "clock": "wall time until the device has finished, microseconds a datum",
    }
    made["versions"] |= {"triton": triton.__version__, "cuda": torch.version.cuda}
    result = {"provenance": made, "cases": {}}
    for title, case in CASES.items():
        result["cases"][title] = found = measure(case, peer, rounds, device)
        print(f"\n{title}: {', '.join(f'{k}={x}' for k, x in case._asdict().items())}")
        for name, numbers in found["microseconds_per_datum"].items():
            print(f"  {name:24} {numbers['median']:10.3f} µs [{numbers['min']:.3f}, {numbers['max']:.3f}]")
    write_json(out, result)
    print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
