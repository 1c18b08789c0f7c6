"""All that is worth doing with one GPU for some minutes, the most important first.

    python benchmarks/gpu.py --peer FOLDER --data DATA --minutes 9

Agreement with the processor comes first, then time and memory of inference, the ratio to the authors' code on the same
device, batches, the next leaf, chapters on the device beside the same on the processor, and, in what time is left,
training. The result file is written after each step; the same command goes on where the last one stopped. No step is
begun for which the time does not suffice. Without a GPU nothing is measured and nothing is written.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

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
COMPARED = (Case(32, 8, 2, 6, 70, 0), Case(16, 8, 3, 4, 33, 0), Case(5, 3, 4, 3, 9, 0))
EXPONENTS = (0.0, 1.0)  # of Zipf's law, that of the rules: uniform, and with weights
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}  # of beliefs, and of log evidence relative to its size
BATCHES = (1, 4, 16, 64, 100, 256, 1000, 4096)
CHAPTERS = ("half-way-and-back", "going-down", "lost-all-at-once", "changes-come-in-blocks")


class Setting(NamedTuple):
    """What all steps share."""

    device: torch.device
    peer: Path | None  #: a clone of the authors' code
    data: Path | None  #: folder of CIFAR-10
    folder: Path  #: for runs of chapters and for weights
    rounds: int
    end: float  #: when time is up, on the clock of time.monotonic

    @property
    def left(self) -> float:
        return self.end - time.monotonic()


class Step(NamedTuple):
    """One thing to do."""

    seconds: float  #: that must be left for it to be begun
    run: Callable[[Setting], dict]


def steps(at: Setting) -> dict[str, Step]:
    """What can be done in this setting, by name, in the order of importance."""
    every = {"agreement": Step(60, agreement)}
    for title, case in CASES.items():
        every[f"time: {title}"] = Step(30, lambda at, case=case: measure(case, at.peer, at.rounds, at.device))
    every["time: batches"] = Step(30, batches)
    every["time: next leaf"] = Step(30, next_leaf)
    for slug in CHAPTERS:
        every[f"chapter: {slug}"] = Step(90, lambda at, slug=slug: beside(slug, at))
    if at.data is not None:
        every["training"] = Step(60, training)
    return every


def agreement(at: Setting) -> dict:
    """Largest differences between the device and the processor, function by function."""
    found = []
    for case, exponent in itertools.product(COMPARED, EXPONENTS):
        rng, weights = torch.Generator().manual_seed(0), hl.zipf(case.m, exponent)
        g = hl.random_grammar(v=case.v, m=case.m, s=case.s, L=case.L, weights=weights, generator=rng)
        x = hl.sample(g, case.batch, generator=rng)
        there, x_there = g.to(at.device), [level.to(at.device) for level in x]
        for dtype, tolerance in TOLERANCE.items():
            e = hl.epsilon_evidence(x[0], eps=0.5, v=case.v, dtype=dtype)
            both = (g, e, x), (there, e.to(at.device), x_there)
            differ = {name: max(map(_difference, *map(call, both))) for name, call in CALLS.items()}
            facts = {"parameters": case._asdict(), "zipf": exponent, "dtype": str(dtype).removeprefix("torch.")}
            found.append(facts | {"tolerance": tolerance, "largest_difference": differ})
    agree = all(max(each["largest_difference"].values()) <= each["tolerance"] for each in found)
    return {"agree": agree, "cases": found}


def _infer(of: tuple) -> list[torch.Tensor]:
    b = hl.infer(of[0], of[1])
    return [*b.up, *b.down, *b.marginals, b.log_evidence]


CALLS: dict[str, Callable[[tuple], list[torch.Tensor]]] = {
    "infer": _infer,
    "infer, marginals only": lambda of: list(hl.infer(of[0], of[1], messages=False).marginals),
    "class_posterior": lambda of: list(hl.class_posterior(of[0], of[1])),
    "next_leaf": lambda of: [hl.next_leaf(of[0], of[1])],
    "epsilon_overlap": lambda of: list(hl.epsilon_overlap(of[0], of[2], eps=0.5, dtype=of[1].dtype)),
}


def _difference(here: torch.Tensor, there: torch.Tensor) -> float:
    """The largest, of what is larger than one relative to its size."""
    there = there.cpu()
    return float(((here - there).abs() / here.abs().clamp_min(1)).max())


def batches(at: Setting) -> dict:
    """Microseconds a datum of marginals at the paper's size, by the size of the batch."""
    g, e = _paper(at.device, BATCHES[-1])
    runs = {n: lambda n=n: hl.infer(g, e[:n], messages=False) for n in BATCHES}
    return {"microseconds_per_datum": {str(n): _timed(run, n, at) for n, run in runs.items()}}


def next_leaf(at: Setting) -> dict:
    """Microseconds a datum for the next leaf at all places, and for marginals of the same data."""
    n = CASES["paper"].batch
    g, e = _paper(at.device, n)
    runs = {"next_leaf": lambda: hl.next_leaf(g, e), "infer, marginals only": lambda: hl.infer(g, e, messages=False)}
    return {"microseconds_per_datum": {name: _timed(run, n, at) for name, run in runs.items()}}


def _paper(device: torch.device, batch: int) -> tuple[hl.Grammar, torch.Tensor]:
    case, rng = CASES["paper"], torch.Generator().manual_seed(0)
    g = hl.random_grammar(v=case.v, m=case.m, s=case.s, L=case.L, generator=rng)
    x = hl.sample(g, batch, generator=rng)[0].to(device)
    return g.to(device), hl.epsilon_evidence(x, eps=0.5, v=case.v)


def _timed(run: Callable[[], object], n: int, at: Setting) -> dict[str, float]:
    run()  # compiles and warms up
    t = np.array([_seconds(run, at.device) for _ in range(at.rounds)]) / n * 1e6
    return {"median": float(np.median(t)), "min": float(t.min()), "max": float(t.max())}


def beside(slug: str, at: Setting) -> dict:
    """A chapter on the device and on the processor: its seconds, and how far apart its answers are, in standard errors.

    The two draw other random numbers, as generators of two devices do.
    """
    seconds, answers = {}, {}
    for device in (at.device.type, "cpu"):
        out = at.folder / f"{slug}-{device}"
        _hierlib(["run", slug, "-p", f"device={device}", "--out", str(out)], at)
        seconds[device] = json.loads((out / "run.json").read_text("utf-8"))["seconds"]
        rows = json.loads((out / "records.json").read_text("utf-8"))
        answers[device] = {row["id"]: row for row in rows if row.get("interval")}
    there, here = answers.values()
    apart = {id: _apart(there[id], here[id]) for id in sorted(there.keys() & here.keys())}
    return {"seconds": seconds, "standard_errors_apart": apart}


def _apart(a: dict[str, Any], b: dict[str, Any]) -> float:
    error = np.hypot(*((each["interval"][1] - each["interval"][0]) / 3.92 for each in (a, b)))
    return float(abs(a["value"] - b["value"]) / error) if error else float(a["value"] != b["value"])


def training(at: Setting) -> dict:
    """The denoiser of CIFAR-10 for the minutes that are left; the next call of this script goes on with it."""
    out = at.folder / "cifar10.safetensors"
    words = ["train", "diffusion", "--data", "cifar10", "--folder", str(at.data), "--out", str(out)]
    code = _hierlib([*words, "--minutes", f"{(at.left - 30) / 60:.2f}"], at, good=(0, 3))
    return {"weights": out.name, "finished": code == 0}


def _hierlib(words: list[str], at: Setting, good: tuple[int, ...] = (0,)) -> int:
    """A command of hierlib in a process of its own; raises where it fails or time is up."""
    done = subprocess.run([sys.executable, "-m", "hierlib.book", *words], timeout=max(at.left, 1))
    if done.returncode not in good:
        raise subprocess.CalledProcessError(done.returncode, done.args)
    return done.returncode


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


def work(at: Setting, out: Path, made: dict) -> dict:
    """Does the steps that are not in the result file yet, and writes it after each; what fails is written as failed.

    Args:
        at: the setting. out: the result file; one of another commit, device or command is begun anew.
        made: the provenance to write.
    """
    result: dict[str, Any] = {"provenance": made, "steps": {}}
    if out.exists():
        before = json.loads(out.read_text("utf-8"))
        if all(before["provenance"].get(key) == made[key] for key in ("commit", "device", "command")):
            result["steps"] = {name: step for name, step in before["steps"].items() if _done(step)}
    for name, step in steps(at).items():
        if name in result["steps"]:
            print(f"{name}: done before")
        elif at.left < step.seconds:
            print(f"{name}: left out, {at.left:.0f} s are left and {step.seconds:.0f} are wanted; run the same again")
        else:
            start = time.monotonic()
            try:
                found = step.run(at)
            except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
                found = {"failed": f"{type(error).__name__}: {error}"}
            result["steps"][name] = found | {"wall_seconds": round(time.monotonic() - start, 1)}
            write_json(out, result)
            print(f"{name}: {_told(found)}", flush=True)
    return result


def _done(step: dict) -> bool:
    return "failed" not in step and step.get("finished", True)


def _told(found: dict) -> str:
    """A step's result in a line."""
    if "failed" in found:
        return f"failed, {found['failed']}"
    if "microseconds_per_datum" in found:
        return ", ".join(f"{name} {t['median']:.3f} µs" for name, t in found["microseconds_per_datum"].items())
    return ", ".join(f"{name} {value}" for name, value in found.items() if not isinstance(value, list | dict)) or "done"


def main(
    peer: Annotated[Path | None, _paths.option(help="A clone of the authors' code; without it no ratios.")] = None,
    data: Annotated[Path | None, _paths.option(help="Folder of CIFAR-10; without it no training.")] = None,
    minutes: Annotated[float, typer.Option(min=1, help="How long at most.")] = 9,
    rounds: Annotated[int, typer.Option(min=1, help="How often each contender runs.")] = 20,
    folder: Annotated[Path, _paths.option(help="For runs of chapters and weights.")] = FOLDER.parent
    / "results"
    / "gpu",
    out: Annotated[Path, _paths.option(help="The result file.")] = FOLDER / "results" / "gpu.json",
) -> None:
    """Do the steps, tell each in a line, and write the result file after each."""
    at = Setting(torch.device("cuda"), peer, data, folder, rounds, time.monotonic() + 60 * minutes)
    if not torch.cuda.is_available():
        raise typer.BadParameter("torch sees no GPU here (torch.cuda.is_available() is False): nothing is measured")
    try:
        import triton
    except ImportError as error:
        raise typer.BadParameter("triton is missing, so there is no gpu backend: pip install 'hierlib[gpu]'") from error
    made = provenance([])
    given = "".join(f" --{name} FOLDER" for name, path in (("peer", peer), ("data", data)) if path is not None)
    made |= {
        "command": f"python benchmarks/gpu.py{given} --rounds {rounds}",
        "device": torch.cuda.get_device_name(at.device),
        "clock": "wall time until the device has finished, microseconds a datum",
    }
    made["versions"] |= {"triton": triton.__version__, "cuda": torch.version.cuda}
    result = work(at, out, made)["steps"]
    print(f"written: {out}")
    missing = [name for name in steps(at) if not _done(result.get(name, {"failed": True}))]
    if missing:
        print(f"not done: {', '.join(missing)}; the same command goes on with them")
    if not result.get("agreement", {}).get("agree"):
        print("The device does not agree with the processor within the tolerance: no time above counts.")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
