"""The engine of the live figures in headless Chromium, beside hierlib and the authors' code, in one run.

    python benchmarks/browser.py --peer FOLDER      # a clone of AntonioScl/minimal_diffusion_rhm, see README.md

All get the same rules and the same evidence of one datum, in float32, and take turns. hierlib and the authors' code are
timed by the processor time of this process on one thread, the browser by its clock, so that other work on the machine
counts against it alone. Marginals are compared before anything is timed. Then figure 5 of the paper: all levels of one
datum of each of many grammars at 21 noise levels, drawn, corrupted and inferred by two workers of a page.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
from cpu import FOLDER, TURN, Case, Contest, provenance, write_json

import hierlib as hl
from hierlib import _paths
from tests import browser as b
from tests.engine import as_json, opened

CASES = {
    "one datum": Case(32, 8, 2, 10, 1, 1),
    "three children": Case(16, 8, 3, 6, 1, 1),
    "small": Case(16, 4, 2, 7, 1, 1),
}
TINY = {"tiny": Case(4, 2, 2, 3, 1, 1)}
FIGURE_5 = {"v": 32, "m": 8, "s": 2, "L": 10, "grammars": 100}
_SET_UP = """
  const g = (globalThis.g = new E.Grammar(data.g)), evidence = Float32Array.from(data.evidence);
  const generator = new E.Generator(0), x = E.sample(g, 1, { generator }), noise = new E.GaussianNoise(g.v);
  const seen = noise.corrupt(x[0], 0.3, { generator });
  globalThis.contenders = {
    "infer, marginals only": () => E.infer(g, evidence, { messages: false }),
    "infer, marginals row by row": () => E.infer(g, evidence, { messages: false }).marginals,
    infer: () => E.infer(g, evidence),
    "infer, float64": () => E.infer(g, data.evidence),
    "class_posterior": () => E.classPosterior(g, evidence),
    "overlap": () => E.overlap(E.infer(g, evidence, { messages: false }), x),
    "posterior_sample": () => E.posteriorSample(g, evidence, { generator }),
    "random_grammar": () => E.randomGrammar({ ...data.g, generator }),
    "Gaussian, corrupt": () => noise.corrupt(x[0], 0.3, { generator }),
    "Gaussian, evidence": () => noise.evidence(seen, 0.3),
  };
  return E.infer(g, evidence).marginals.map((level) => [...level]);"""
_TURN = """
  const found = {};
  for (const [name, run] of Object.entries(globalThis.contenders)) {
    const start = performance.now();
    let [calls, spent] = [0, 0];
    for (; spent < data; spent = performance.now() - start, calls++) run();
    found[name] = (1e3 * spent) / calls;
  }
  return found;"""
_FIGURE = """
  const start = performance.now();
  let pieces = 0;
  await E.start("levelCurves", data, () => pieces++, { workers: 2 }).done;
  return [pieces, (performance.now() - start) / 1e3];"""


def summary(numbers: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(numbers), "min": min(numbers), "max": max(numbers)}


def measure(page, case: Case, peer: Path | None, rounds: int) -> dict:
    """Microseconds a datum of one case, and how many times faster the browser is than the authors, turn by turn."""
    contest = Contest(case, peer)
    g, evidence = contest.g, contest.evidence
    marginals = page(_SET_UP, {"g": as_json(g), "evidence": evidence.flatten().tolist()})
    pairs = zip(hl.infer(g, evidence).marginals, marginals, strict=True)
    worst = max(float((ours.flatten() - torch.tensor(theirs)).abs().max()) for ours, theirs in pairs)
    kept = {"infer", "infer, marginals only", "authors"}
    contest.contenders = {name: each for name, each in contest.contenders.items() if name in kept}
    browser: dict[str, list[float]] = {}
    python: dict[str, list[float]] = {}
    for turn in range(-1, rounds):  # the first warms up
        for name, spent in page(_TURN, 1e3 * TURN).items():
            browser.setdefault(name, []).extend([spent] * (turn >= 0))
        for name, spent in contest.times(1).items():
            python.setdefault(name, []).extend(spent * (turn >= 0))
    out = {
        "parameters": case._asdict(),
        "largest_difference_of_marginals": worst,
        "browser_microseconds": {name: summary(spent) for name, spent in browser.items()},
        "hierlib_microseconds": {name: summary(spent) for name, spent in python.items()},
    }
    if peer is not None:
        turns = zip(python["authors"], browser["infer, marginals only"], strict=True)
        out["times_faster_than_authors"] = statistics.median(a / mine for a, mine in turns)
    return out


def main(
    peer: Annotated[Path | None, _paths.option(help="A clone of the authors' code; without it no ratios.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each contender has a turn.")] = 9,
    tiny: Annotated[bool, typer.Option(help="A toy size, to see that the benchmark works.")] = False,
    out: Annotated[Path, _paths.option(help="The result file.")] = FOLDER / "results" / "browser.json",
) -> None:
    """Measure, print a table, and write the result file."""
    if peer is not None and not (peer / "datasets" / "BP_utils.py").exists():
        raise typer.BadParameter(f"{peer} has no datasets/BP_utils.py: clone AntonioScl/minimal_diffusion_rhm there")
    made = provenance([]) | {"clock": "hierlib and the authors: processor time; the browser: its clock"}
    words = ["--peer", "FOLDER"] * (peer is not None) + ["--tiny"] * tiny + ["--rounds", str(rounds)]
    made["command"] = " ".join(["python", "benchmarks/browser.py", *words])
    result = {"provenance": made, "cases": {}}
    with b.chromium() as browser, tempfile.TemporaryDirectory() as folder:
        made["versions"]["chromium"] = browser.version
        for page in opened(browser, Path(folder)):
            for title, case in (TINY if tiny else CASES).items():
                result["cases"][title] = found = measure(page, case, peer, rounds)
                print(f"\n{title}: {', '.join(f'{k}={x}' for k, x in case._asdict().items())}")
                for where in ("browser", "hierlib"):
                    for name, numbers in found[f"{where}_microseconds"].items():
                        print(
                            f"  {where:8} {name:30} {numbers['median']:10.1f} µs [{numbers['min']:.1f}, {numbers['max']:.1f}]"
                        )
            job = FIGURE_5 | ({"grammars": 2} if tiny else {})
            result["figure_5_seconds"] = {}
            for noise in ("EpsilonNoise", "GaussianNoise"):
                times = job | {"noise": noise, "t": [0.05 * (k + (noise == "GaussianNoise")) for k in range(21)]}
                pieces, seconds = page(_FIGURE, times)
                if pieces != job["grammars"]:
                    raise RuntimeError(f"expected {job['grammars']} grammars, got {pieces}")
                result["figure_5_seconds"][noise] = seconds
                print(f"figure 5, {noise}: {seconds:.2f} s")
    write_json(out, result)
    print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
