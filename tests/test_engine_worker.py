"""Jobs of the engine in workers, from a file and from a server: they report, stop at once, and refuse in a sentence."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.experiments.curves import half_height
from hierlib.theory import population

from . import browser as b
from .engine import page

CURVES = {"v": 8, "m": 2, "s": 2, "L": 5, "noise": "GaussianNoise", "t": [0.05, 0.3, 0.8], "grammars": 6, "data": 3}
COLLECT = """
  const pieces = {}, report = ({ grammar, overlap }) => (pieces[grammar] = [...overlap]);"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_in_workers_is_what_the_page_computes(engine, workers):
    script = f"""{COLLECT}
      const done = await E.start("levelCurves", data, report, {{ workers: {workers} }}).done;
      return [done, pieces, [...E.jobs.levelCurves(data)].map(({{ overlap }}) => [...overlap])];"""
    done, pieces, here = engine(script, CURVES)
    assert done is True and [pieces[str(i)] for i in range(6)] == here


@pytest.mark.parametrize(
    "noise, t, a",
    [
        ("EpsilonNoise", [0.2, 0.6], 0),
        ("GaussianNoise", [0.2, 0.5], 0),
        ("MaskNoise", [0.5], 0),
        ("EpsilonNoise", [0.3, 0.8], 1.5),
    ],
)
def test_level_curves_are_those_of_hierlib(engine, noise, t, a):
    shape = {"v": 8, "m": 3, "s": 2, "L": 4}
    script = "return [...E.jobs.levelCurves(data)].map(({ overlap }) => [...overlap]);"
    job = {**shape, "a": a, "noise": noise, "t": t, "grammars": 150, "data": 2, "seed": 3}
    mine = torch.tensor(engine(script, job), dtype=torch.float64).reshape(150, len(t), 5)
    rng, theirs = torch.Generator().manual_seed(0), []
    for _ in range(150):
        g = hl.random_grammar(**shape, weights=hl.zipf(3, a), generator=rng)
        x = hl.sample(g, 2, generator=rng)
        process = getattr(hl, noise)(8, dtype=torch.float64)
        seen = [process.evidence(process.corrupt(x[0], each, generator=rng), each) for each in t]
        theirs.append(torch.stack([hl.overlap(hl.infer(g, evidence), x) for evidence in seen]))
    theirs = torch.stack(theirs)
    error = ((mine.var(0) + theirs.var(0)) / 150).sqrt()
    assert ((mine.mean(0) - theirs.mean(0)).abs() < 4 * error + 1e-9).all()


def test_the_mean_field_of_uneven_rules_in_a_worker_is_that_of_hierlib(engine):
    shape = {"v": 16, "s": 2, "L": 6}
    script = """
      const field = [], halves = [];
      await E.start("meanField", { ...data, m: 8, eps: [0, 0.4, 0.9] }, (piece) => field.push(piece)).done;
      await E.start("halfHeights", { ...data, rules: [2, 8, 16] }, (piece) => halves.push(piece)).done;
      return [field, halves, E.jobs.halfHeights({ ...data, rules: [8] }).next().value];"""
    field, halves, again = engine(script, {**shape, "a": 1.0})
    rng = torch.Generator().manual_seed(0)
    wanted = population.pool_of_beliefs([0.0, 0.4, 0.9], hl.zipf(8, 1.0), **shape, generator=rng).marginal
    assert [piece["point"] for piece in field] == [0, 1, 2] and again == halves[1]
    assert (torch.tensor([piece["marginal"] for piece in field]) - wanted).abs().max() < 0.02
    eps = np.linspace(0.01, 1, 41)
    for piece in halves:
        law = hl.zipf(piece["m"], 1.0)
        top = population.pool_of_beliefs(eps, law, **shape, size=2**14, generator=rng).up[:, -1]
        assert abs(half_height(eps, top.numpy(), chance=1 / 16).t - piece["eps"]) < 0.02


@pytest.mark.parametrize(
    "noise, t, a",
    [
        ("MaskNoise", [0.0, 0.3, 0.55, 0.8], 0),
        ("UniformNoise", [0.0, 0.2, 0.4, 0.7], 0),
        ("GaussianNoise", [0.05, 0.2, 0.4, 0.8], 0),
        ("EpsilonNoise", [0.0, 0.3, 0.5, 0.8], 0),
        ("GaussianNoise", [0.1, 0.3, 0.6], 1.5),
        ("MaskNoise", [0.3, 0.6, 0.9], 1.5),
    ],
)
def test_the_pool_of_beliefs_in_a_worker_is_hierlibs_density_evolution(engine, noise, t, a):
    """The class of all of hierlib's pools and of the engine's, within four standard errors of both."""
    shape = {"v": 8, "m": 4, "s": 2, "L": 5}
    script = """
      const pieces = [];
      for (let seed = 0; seed < 16; seed++)
        await E.start("classCurve", { ...data, seed }, ({ kept }) => pieces.push(kept)).done;
      return pieces;"""
    mine = torch.tensor(engine(script, {**shape, "noise": noise, "t": t, "a": a, "size": 2**11}), dtype=torch.float64)
    rng, theirs = torch.Generator().manual_seed(0), []
    for each in t:
        leaves = population.leaf_sampler(getattr(hl, noise)(8, dtype=torch.float64), each)
        how = dict(m=4, s=2, L=5, size=2**12, pools=12, weights=hl.zipf(4, a), downward=False, generator=rng)
        theirs.append(population.density_evolution(leaves, **how).up[:, -1])
    theirs = torch.stack(theirs, 1)
    error = (mine.var(0) / 16 + theirs.var(0) / 12).sqrt()
    assert mine.shape == (16, len(t)) and error.max() < 0.01
    assert ((mine.mean(0) - theirs.mean(0)).abs() < 4 * error + 1e-9).all(), (mine.mean(0), theirs.mean(0), error)


LONG = CURVES | {"v": 32, "m": 8, "L": 10, "grammars": 10**6, "a": 1}


@pytest.mark.parametrize("served", [False, True])
def test_a_job_stops_at_once_and_the_page_stays_at_hand(browser, tmp_path, served):
    """The page infers nothing, and has a task to itself between any two reports; after stop() it waits for none."""
    opened_from = page(tmp_path)
    script = """async (data) => {
      let [reports, here, joined, reporting, tasks] = [0, 0, 0, false, 0];
      for (const name of ["infer", "randomGrammar", "sample"]) {
        const whole = Engine[name];
        Engine[name] = (...all) => (here++, whole(...all));
      }
      const counted = [...Engine.jobs.levelCurves({ ...data, grammars: 1, L: 2, data: 1 })].length && here;
      here = 0;
      const first = Promise.withResolvers();
      const report = () => {
        joined += reporting; // microtasks are done before the next task
        reporting = true;
        queueMicrotask(() => (reporting = false));
        if (++reports > 2) first.resolve();
      };
      const job = Engine.start("levelCurves", data, report, { workers: 2 });
      await first.promise;
      const before = reports;
      setTimeout(() => tasks++);
      job.stop();
      const done = await job.done, waited = tasks;
      await new Promise((go) => setTimeout(go, 300));
      return { counted, done, waited, tasks, more: reports - before, before, here, joined };
    }"""
    with b.serve(tmp_path) as address:
        opened = browser.new_page()
        opened.goto(f"{address}/{opened_from.name}" if served else opened_from.as_uri())
        got = opened.evaluate(script, LONG)
        for _ in range(600):  # the browser gives a busy worker some seconds before it ends it
            if opened.workers:
                opened.wait_for_timeout(50)
        assert not opened.workers, "a worker goes on"
        opened.close()
    assert got["done"] is False and got["more"] == 0, "it reports after stop()"
    assert (got["waited"], got["tasks"]) == (0, 1), "stop() waits for a task"
    assert got["counted"] > 2 and got["here"] == 0, "the page computes"
    assert got["joined"] == 0 and got["before"] == 3 < LONG["grammars"], "progress comes all at once"


@pytest.mark.parametrize(
    "change, said",
    [
        ({"m": 9}, "m: expected m ≤ v^(s-1) = 8 rules per symbol, got 9"),
        (
            {"noise": "PinkNoise"},
            'noise: expected one of EpsilonNoise, GaussianNoise, MaskNoise, UniformNoise, got "PinkNoise"',
        ),
        ({"noise": "Grammar"}, "noise: expected one of"),
        ({"t": []}, "t: expected one noise level or more"),
        ({"t": [0.0]}, "t: expected ᾱ_t < 1"),
        ({"noise": "MaskNoise", "t": [2]}, "t: expected a number in [0, 1], got 2"),
        ({"grammars": 0}, "grammars: expected at least 1, got 0"),
        ({"a": "steep"}, 'a: expected a finite number, got "steep"'),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"L": 30}, "L: expected at most 12, got 30"),
    ],
)
def test_a_job_refuses_in_a_sentence(engine, change, said):
    script = """
      return E.start("levelCurves", data, () => {}).done.then(() => "done", (error) => error.message);"""
    assert said in engine(script, CURVES | change)


def test_only_jobs_are_started(engine):
    script = """
      const said = (call) => { try { call(); return "started"; } catch (error) { return error.message; } };
      const none = () => E.start("levelCurves", data, () => {}, { workers: 0 });
      return [said(() => E.start("toString", {})), said(none)];"""
    assert engine(script, CURVES) == [
        'name: expected one of levelCurves, classPoints, meanField, halfHeights, classCurve, got "toString"',
        "workers: expected at least 1, got 0",
    ]
