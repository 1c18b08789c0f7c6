"""The engine of the live figures in headless Chromium, beside hierlib and the authors' code, in one run.

    python benchmarks/browser.py --peer FOLDER      # a clone of AntonioScl/minimal_diffusion_rhm, see README.md

All get the same rules and the same evidence of one datum, in float32, and take turns. hierlib and the authors' code
are timed by the processor time of this process on one thread, the engine by that of the page's thread: other work on
the machine counts for none. Marginals are compared before anything is timed. Then figure 5 of the paper, by the clock:
all levels of one datum of each of many grammars at 21 noise levels, drawn, corrupted and inferred by two workers.
"""

from __future__ import annotations

import bisect
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
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
from tests import laboratory
from tests.engine import as_json, opened

CASES = {
    "one datum": Case(32, 8, 2, 10, 1, 1),
    "three children": Case(16, 8, 3, 6, 1, 1),
    "small": Case(16, 4, 2, 7, 1, 1),
}
TINY = {"tiny": Case(4, 2, 2, 3, 1, 1)}
FIGURE_5 = {"v": 32, "m": 8, "s": 2, "L": 10, "grammars": 100}
NOISES = {"EpsilonNoise": [k / 20 for k in range(21)], "GaussianNoise": [(k + 1) / 20 for k in range(21)]}
PAPER = "datum_v=32&datum_m=8&datum_s=2&datum_L=10&datum_noise=GaussianNoise"
UNEVEN = "noise=EpsilonNoise&v=32&m=32&s=2&L=10&grammars=24"
SLIDERS = {  # of the laboratory: address, figure, slider, its values, milliseconds that the hand rests at each
    "noise on one datum while curves compute": (f"{PAPER}&grammars=200", ".one-datum", "stop", range(10, 41), 40),
    "exponent of uneven rules": (UNEVEN, ".laboratory", "a", [k / 10 for k in range(1, 20)], 400),
}
WARM = 9  # values before it is measured
_SET_UP = """
  const g = (globalThis.g = new E.Grammar(data.g)), evidence = Float32Array.from(data.evidence);
  const generator = new E.Generator(0), x = E.sample(g, 1, { generator }), noise = new E.GaussianNoise(g.v);
  const path = noise.path(x[0], { generator }), seen = path(0.3);
  globalThis.contenders = {
    "infer, marginals only": () => E.infer(g, evidence, { messages: false }),
    "infer, marginals row by row": () => E.infer(g, evidence, { messages: false }).marginals,
    infer: () => E.infer(g, evidence),
    "infer, float64": () => E.infer(g, data.evidence),
    "class_posterior": () => E.classPosterior(g, evidence),
    "overlap": () => E.overlap(E.infer(g, evidence, { messages: false }), x),
    "posterior_sample": () => E.posteriorSample(g, evidence, { generator }),
    "strata after a step of the slider": () => {
      const told = noise.evidence(path(0.3), 0.3);
      const draw = { generator: generator.copy(), first: x };
      return [E.infer(g, told, { messages: false }), E.posteriorSample(g, told, draw)];
    },
    "random_grammar": () => E.randomGrammar({ ...data.g, generator }),
    "Gaussian, corrupt": () => noise.corrupt(x[0], 0.3, { generator }),
    "Gaussian, evidence": () => noise.evidence(seen, 0.3),
  };
  return E.infer(g, evidence).marginals.map((level) => [...level]);"""
_CALLS = """
  const run = globalThis.contenders[data[0]];
  for (let k = 0; k < data[1]; k++) run();
  return data[1];"""
_NAMES = "return Object.keys(globalThis.contenders);"
_FIGURE = """
  const start = performance.now();
  let pieces = 0;
  await E.start("levelCurves", data, () => pieces++, { workers: 2 }).done;
  return [pieces, (performance.now() - start) / 1e3];"""


def summary(numbers: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(numbers), "min": min(numbers), "max": max(numbers)}


class Page:
    """A page with the engine, whose thread's processor time can be read."""

    def __init__(self, browser, folder: Path):
        tab = browser.new_page()
        self._open = opened(tab, folder)
        self.run = next(self._open)
        self._session = tab.context.new_cdp_session(tab)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds(self) -> float:
        """Of the thread, so far."""
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return next(each["value"] for each in metrics if each["name"] == "ThreadTime")

    def timed(self, name: str, calls: int) -> float:
        """Seconds a call."""
        start = self.seconds()
        self.run(_CALLS, [name, calls])
        return (self.seconds() - start) / calls


def measure(page: Page, case: Case, peer: Path | None, rounds: int) -> dict:
    """Microseconds a datum of one case, and how many times faster the browser is than the authors, turn by turn."""
    contest = Contest(case, peer)
    g, evidence = contest.g, contest.evidence
    marginals = page.run(_SET_UP, {"g": as_json(g), "evidence": evidence.flatten().tolist()})
    pairs = zip(hl.infer(g, evidence).marginals, marginals, strict=True)
    worst = max(float((ours.flatten() - torch.tensor(theirs)).abs().max()) for ours, theirs in pairs)
    kept = {"infer", "infer, marginals only", "authors"}
    contest.contenders = {name: each for name, each in contest.contenders.items() if name in kept}
    calls = {name: max(1, round(TURN / page.timed(name, 50))) for name in page.run(_NAMES)}
    browser: dict[str, list[float]] = {name: [] for name in calls}
    python: dict[str, list[float]] = {name: [] for name in contest.contenders}
    for _ in range(rounds):
        for name, count in calls.items():
            browser[name].append(1e6 * page.timed(name, count))
        for name, spent in contest.times(1).items():
            python[name] += spent
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


def tasks(browser, tab, steps: list[Callable[[], object]]) -> dict:
    """What steps cost the page's thread, in milliseconds of its processor time: all tasks of each, and the longest."""
    browser.start_tracing(page=tab, categories=["disabled-by-default-devtools.timeline", "blink.user_timing"])
    for step in steps:
        tab.evaluate("() => void performance.mark('a step of the benchmark')")
        step()
    events = json.loads(browser.stop_tracing())["traceEvents"]
    marks = [each for each in events if each["name"] == "a step of the benchmark"]
    thread, begun = [marks[0][key] for key in ("pid", "tid")], [each["ts"] for each in marks]
    spent: list[list[float]] = [[] for _ in steps]
    done = [each for each in events if each["name"] == "RunTask" and "tdur" in each]  # one may be cut by the end
    for each in done:
        if [each["pid"], each["tid"]] == thread and each["ts"] >= begun[0]:
            spent[bisect.bisect(begun, each["ts"]) - 1].append(each["tdur"] / 1e3)
    every = [each for step in spent for each in step]
    return {
        "steps": len(steps),
        "a_step": summary([sum(step) for step in spent]),
        "longest_task": max(every),
        "tasks_over_50": sum(each > 50 for each in every),
    }


def page_tasks(browser, folder: Path, tiny: bool) -> dict[str, dict]:
    """`tasks` of each of the SLIDERS; in the last step all that was asked for is computed, drawn and said."""
    address, found = laboratory.page(folder).as_uri(), {}
    for title, (search, figure, name, values, rest) in SLIDERS.items():
        tab = browser.new_page()
        tab.set_default_timeout(120_000)
        tab.goto(f"{address}?{search}" + "&L=3&datum_L=3&grammars=2" * tiny)
        stage = tab.locator(figure)
        stage.locator("[role=status]:not(:empty)").wait_for(state="attached")

        def step(value: float, tab=tab, stage=stage, name=name, rest=rest) -> None:
            laboratory.slide(stage, name, value)
            tab.wait_for_timeout(rest)

        for value in values[:WARM]:  # what is compiled once is there
            step(value)
        steps = [partial(step, value) for value in values[WARM : WARM + 2 if tiny else None]]
        found[title] = tasks(browser, tab, [*steps, partial(tab.wait_for_function, laboratory.DONE)])
        tab.close()
    return found


def main(
    peer: Annotated[Path | None, _paths.option(help="A clone of the authors' code; without it no ratios.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each contender has a turn.")] = 9,
    tiny: Annotated[bool, typer.Option(help="A toy size, to see that the benchmark works.")] = False,
    out: Annotated[Path, _paths.option(help="The result file.")] = FOLDER / "results" / "browser.json",
) -> None:
    """Measure, print a table, and write the result file."""
    if peer is not None and not (peer / "datasets" / "BP_utils.py").exists():
        raise typer.BadParameter(f"{peer} has no datasets/BP_utils.py: clone AntonioScl/minimal_diffusion_rhm there")
    made = provenance([]) | {"clock": "processor time of the process or of the page's thread; figure 5: the clock"}
    words = ["--peer", "FOLDER"] * (peer is not None) + ["--tiny"] * tiny + ["--rounds", str(rounds)]
    made["command"] = " ".join(["python", "benchmarks/browser.py", *words])
    result = {"provenance": made, "cases": {}}
    with b.chromium() as browser, tempfile.TemporaryDirectory() as folder:
        made["versions"]["chromium"] = browser.version
        page = Page(browser, Path(folder))
        for title, case in (TINY if tiny else CASES).items():
            result["cases"][title] = found = measure(page, case, peer, rounds)
            print(f"\n{title}: {', '.join(f'{k}={x}' for k, x in case._asdict().items())}")
            for where in ("browser", "hierlib"):
                for name, numbers in found[f"{where}_microseconds"].items():
                    spread = f"[{numbers['min']:.1f}, {numbers['max']:.1f}]"
                    print(f"  {where:8} {name:30} {numbers['median']:10.1f} µs {spread}")
            if peer is not None:
                print(f"  {found['times_faster_than_authors']:.0f} × the authors' speed")
        result["figure_5_seconds"] = {}
        for noise, t in NOISES.items():
            job = FIGURE_5 | {"noise": noise, "t": t} | ({"grammars": 2} if tiny else {})
            pieces, seconds = page.run(_FIGURE, job)
            if pieces != job["grammars"]:
                raise RuntimeError(f"expected {job['grammars']} grammars, got {pieces}")
            result["figure_5_seconds"][noise] = seconds
            print(f"figure 5, {noise}: {seconds:.2f} s")
        (pages := Path(folder) / "laboratory").mkdir()
        result["page_task_milliseconds"] = page_tasks(browser, pages, tiny)
        for title, found in result["page_task_milliseconds"].items():
            step, longest = found["a_step"], found["longest_task"]
            print(
                f"page, {title}: {step['median']:.1f} ms a step, at most {step['max']:.1f}; longest task {longest:.1f}"
            )
    write_json(out, result)
    print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
