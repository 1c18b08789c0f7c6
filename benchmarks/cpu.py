"""Time and memory of hierlib on one CPU thread, as ratios to the authors' own code, measured in the same run.

    python benchmarks/cpu.py --peer FOLDER      # a clone of AntonioScl/minimal_diffusion_rhm, see README.md

Both get the same rules and the same evidence, take turns, and are timed by the processor time of this process, so
that other work on the machine counts for neither. Their marginals are compared before anything is timed.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: one thread each

import numba
import numpy as np
import torch
import typer

import hierlib as hl
from hierlib import _paths
from hierlib._files import write_text

FOLDER = Path(__file__).resolve().parent
TURN = 0.02  # seconds


class Case(NamedTuple):
    """A grammar and a batch; the authors' code is timed on `peer_batch` data where all would take too long."""

    v: int
    m: int
    s: int
    L: int
    batch: int
    peer_batch: int


CASES = {
    "paper": Case(32, 8, 2, 10, 128, 16),
    "three children": Case(16, 8, 3, 6, 128, 16),
    "many data": Case(16, 4, 2, 7, 1024, 128),
    "one datum": Case(32, 8, 2, 10, 1, 1),
}
TINY = {"tiny": Case(4, 2, 2, 3, 8, 8)}


class Contest:
    """The contenders on one case: name → function of no arguments, and how many data it does."""

    def __init__(self, case: Case, peer: Path | None, seed: int = 0):
        torch.set_num_threads(1)
        rng = torch.Generator().manual_seed(seed)
        v, m, s, L, n, few = case
        self.g = hl.random_grammar(v=v, m=m, s=s, L=L, generator=rng)
        self.x = hl.sample(self.g, n, generator=rng)
        self.evidence = hl.epsilon_evidence(self.x[0], eps=0.5, v=v)
        g, e = self.g, self.evidence
        self.contenders: dict[str, tuple[Callable[[], object], int]] = {
            "infer": (lambda: hl.infer(g, e), n),
            "infer, marginals only": (lambda: hl.infer(g, e, messages=False), n),
            "infer, plain torch": (lambda: hl.infer(g, e, backend="torch"), n),
            "ε evidence and overlaps": (lambda: hl.epsilon_overlap(g, self.x, eps=0.5), n),
            "posterior_sample": (lambda: hl.posterior_sample(g, e, generator=rng), n),
        }
        for name, noise in self.noises(v).items():
            self.contenders[name] = (lambda noise=noise: self.observe(noise, rng), n)
        if peer is not None:
            rules = {i: g.rules[L - 1 - i].clone() for i in range(L)}  # theirs count levels from the root
            self.bp = _peer(peer)(v, s, m, L, rules)
            columns = e[:few].permute(2, 0, 1).reshape(v, -1).contiguous()  # (v, data·leaves), the data side by side
            self.contenders["authors"] = (lambda: self.bp.run_BP_from_upward_messages(columns.clone()), few)
            self.contenders["authors, sampling"] = (lambda: self.bp.sample_from_upward_messages(columns.clone()), few)
            self.few = few
            if few > 1:
                one = e[:1].permute(2, 0, 1).reshape(v, -1).contiguous()
                self.contenders["authors, one at a time"] = (
                    lambda: self.bp.run_BP_from_upward_messages(one.clone()),
                    1,
                )

    @staticmethod
    def noises(v: int) -> dict[str, object]:
        return {"Gaussian": hl.GaussianNoise(v=v), "mask": hl.MaskNoise(v=v), "uniform": hl.UniformNoise(v=v)}

    def observe(self, noise, rng: torch.Generator) -> torch.Tensor:
        """Corrupt the leaves and make the evidence: what inference is fed with."""
        return noise.evidence(noise.corrupt(self.x[0], 0.1, generator=rng), 0.1)

    def disagreement(self) -> float:
        """Largest difference between the marginals of the authors' code and ours, over all levels."""
        theirs, ours = self.contenders["authors"][0](), hl.infer(self.g, self.evidence).marginals
        worst = 0.0
        for level, b in enumerate(ours):
            a = theirs[self.g.L - level].reshape(b.shape[2], self.few, -1).permute(1, 2, 0)
            worst = max(worst, float((a - b[: self.few]).abs().max()))
        return worst

    def times(self, rounds: int) -> dict[str, list[float]]:
        """Microseconds of processor time a datum, one number a round; the contenders take turns."""
        return take_turns(self.contenders, rounds)


def take_turns(contenders: dict[str, tuple[Callable[[], object], float]], rounds: int) -> dict[str, list[float]]:
    """Microseconds of processor time a datum, one number a round, of functions that do so many data each.

    A turn is as many calls as fill TURN seconds, so that a short call does not pay for the caches that the one
    before it has emptied.
    """
    found, calls = {name: [] for name in contenders}, dict.fromkeys(contenders, 1)
    for turn in range(-2, rounds):  # the first turn compiles and warms up, the second finds the number of calls
        for name, (run, n) in contenders.items():
            start = time.process_time()
            for _ in range(calls[name]):
                run()
            spent = (time.process_time() - start) / calls[name]
            if turn >= 0:
                found[name].append(spent / n * 1e6)
            elif turn == -1:
                calls[name] = max(1, round(TURN / max(spent, 1e-9)))
    return found


def measure(case: Case, peer: Path | None, rounds: int) -> dict:
    """All numbers of one case; ratios are medians of the authors' time over ours, round by round."""
    contest = Contest(case, peer)
    times = contest.times(rounds)
    out = {
        "parameters": case._asdict(),
        "microseconds_per_datum": {
            name: {"median": float(np.median(t)), "min": min(t), "max": max(t)} for name, t in times.items()
        },
    }
    out["evidence_times_inference"] = {
        name: float(np.median(np.array(times[name]) / np.array(times["infer"]))) for name in Contest.noises(2)
    }
    if peer is not None:
        out["largest_difference_of_marginals"] = contest.disagreement()
        theirs = {name: times["authors, sampling" if name == "posterior_sample" else "authors"] for name in times}
        out["times_faster_than_authors"] = {
            name: float(np.median(np.array(theirs[name]) / np.array(t)))
            for name, t in times.items()
            if not name.startswith("authors") and name not in Contest.noises(2)
        }
    return out


def memory(case: Case, peer: Path | None, name: str) -> float:
    """How much the peak memory of a fresh process grows while one contender does one whole batch, in MiB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_growth, (case._replace(peer_batch=case.batch), peer, name))


def _growth(case: Case, peer: Path | None, name: str) -> float:
    small = Contest(case._replace(batch=2, peer_batch=2), peer)
    small.contenders[name][0]()  # compiled code and libraries are not the batch's
    contest = Contest(case, peer)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _peak()
    contest.contenders[name][0]()
    return _peak() - before


def _peak() -> float:
    """Peak resident memory since it was last forgotten, in MiB."""
    return next(int(line.split()[1]) for line in _lines("/proc/self/status") if line.startswith("VmHWM")) / 2**10


def threads(case: Case, rounds: int, name: str) -> float:
    """How much faster two threads are than one, in wall time: the fastest of rounds that take turns.

    Another program on the second core counts against two threads only; the fastest round has least of it.
    """
    run, fastest = Contest(case, None).contenders[name][0], [float("inf"), float("inf")]
    for turn in range(rounds + 1):
        for number in (1, 2):
            torch.set_num_threads(number)
            start = time.perf_counter()
            run()
            if turn:
                fastest[number - 1] = min(fastest[number - 1], time.perf_counter() - start)
    torch.set_num_threads(1)
    return fastest[0] / fastest[1]


def processes(case: Case, name: str, seconds: float) -> float:
    """How many times as much two processes do side by side as one does: the most that two threads could reach here."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, initializer=_meet, initargs=(context.Barrier(2),)) as pool:
        alone = pool.apply(_calls, (case, name, seconds, False))
        return sum(pool.starmap(_calls, [(case, name, seconds, True)] * 2, chunksize=1)) / alone


def _meet(barrier) -> None:
    global _barrier
    _barrier = barrier


def _calls(case: Case, name: str, seconds: float, together: bool) -> int:
    """How often a contender runs on one thread in so many seconds of wall time; together, both begin at once."""
    torch.set_num_threads(1)
    run, done = Contest(case, None).contenders[name][0], 0
    run()
    if together:
        _barrier.wait()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        run()
        done += 1
    return done


def _peer(folder: Path) -> type:
    """The class BpRhm of the authors' repository."""
    spec = importlib.util.spec_from_file_location("authors_bp", folder / "datasets" / "BP_utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.BpRhm


def provenance(arguments: list[str]) -> dict:
    """What made a result file: machine, versions, commit, day, command."""
    cpu = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    commit = _git("describe", "--always")
    if _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)benchmarks/results"):
        commit += "-dirty"  # a result that another benchmark has just written changes nothing that is measured
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numba": numba.__version__}
    return {
        "command": " ".join(["python", "benchmarks/cpu.py", *arguments]),
        "machine": f"{cpu}, {os.cpu_count()} cores, {platform.system()}",
        "vector_instructions": [name for name in ("avx2", "avx512f", "neon") if name in _features()],
        "versions": versions | {"numpy": np.__version__, "hierlib": hl.__version__},
        "commit": commit or "unknown",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "threads": 1,
        "clock": "processor time of the process, microseconds a datum",
    }


def write_json(out: Path, result: dict) -> None:
    """A result file, whole or not at all."""
    write_text(out, json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(FOLDER), *words], capture_output=True, text=True).stdout.strip()


def _features() -> str:
    return next((line for line in _lines("/proc/cpuinfo") if line.startswith(("flags", "Features"))), "")


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def main(
    peer: Annotated[Path | None, _paths.option(help="A clone of the authors' code; without it no ratios.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each contender runs.")] = 5,
    tiny: Annotated[bool, typer.Option(help="A toy size, to see that the benchmark works.")] = False,
    out: Annotated[Path, _paths.option(help="The result file.")] = FOLDER / "results" / "cpu.json",
) -> None:
    """Measure, print a table, and write the result file."""
    if peer is not None and not (peer / "datasets" / "BP_utils.py").exists():
        raise typer.BadParameter(f"{peer} has no datasets/BP_utils.py: clone AntonioScl/minimal_diffusion_rhm there")
    arguments = ["--peer", "FOLDER"] * (peer is not None) + ["--tiny"] * tiny + ["--rounds", str(rounds)]
    result = {"provenance": provenance(arguments), "cases": {}}
    cases = TINY if tiny else CASES
    for title, case in cases.items():
        result["cases"][title] = found = measure(case, peer, rounds)
        print(f"\n{title}: {', '.join(f'{k}={x}' for k, x in case._asdict().items())}")
        for name, numbers in found["microseconds_per_datum"].items():
            ratio = found.get("times_faster_than_authors", {}).get(name)
            note = f"{ratio:8.0f} × the authors' speed" if ratio else ""
            print(f"  {name:26} {numbers['median']:10.1f} µs [{numbers['min']:.1f}, {numbers['max']:.1f}] {note}")
        made = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found["evidence_times_inference"].items())
        print(f"  noise and evidence, times the inference they feed: {made}")
    first = next(iter(cases))
    names = ["infer", "infer, marginals only"] + ["authors"] * (peer is not None)
    if sys.platform == "linux":
        result["cases"][first]["peak_memory_growth_MiB"] = grown = {n: memory(cases[first], peer, n) for n in names}
        print(f"\npeak memory of {first}: " + ", ".join(f"{n} {x:.1f} MiB" for n, x in grown.items()))
    ways = {}
    for name in ("infer", "infer, marginals only"):
        ways[name] = dict(threads=threads(cases[first], 6 * rounds, name), processes=processes(cases[first], name, 2.0))
        print(f"two on {first}, {name}, times one: " + ", ".join(f"{kind} {x:.2f}" for kind, x in ways[name].items()))
    result["cases"][first]["two_times_one"] = ways
    write_json(out, result)
    print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
