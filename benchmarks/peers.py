"""hierlib against PGMax and pgmpy, general libraries for graphical models, on the same rules and evidence.

    python -m venv peers && peers/bin/pip install -e '.[book]' pgmax 'jax[cpu]<0.7' pgmpy
    peers/bin/python benchmarks/peers.py

Whoever runs it installs them; hierlib does not depend on them. PGMax 0.6.1 needs a jax that still has
jax.lib.xla_bridge, hence the bound. What a peer cannot do stands in the result file in the words of its exception.

How each expresses the model: PGMax has one EnumFactor a node, whose configurations are the rules, and 2L-1 parallel
iterations at temperature 1, the fewest that are exact; the batch is a vmap, compiled by jit beforehand. pgmpy has a
junction tree with one clique a node (the fastest of its exact methods: its message passing on the factor graph
computes every message again for every variable), one datum at a time; evidence is scaled to a maximum of one, for its
test of convergence has an absolute tolerance, and takes very small beliefs for converged ones.
Each gets its time for entering the evidence, propagating, and normalised marginals of every node.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from cpu import FOLDER, provenance, write_json
from torch import Tensor

import hierlib as hl
from hierlib import _paths

Run = Callable[[Tensor], list[np.ndarray]]  # evidence (n, d, v) to marginals, a level each: (n, nodes, symbols)


class Case(NamedTuple):
    """A grammar, and on how many data at once each program is timed."""

    v: int
    m: int
    s: int
    L: int
    batch: int
    pgmax: int
    pgmpy: int


CASES = {
    "small": Case(8, 4, 2, 4, 1024, 1024, 4),
    "middle": Case(8, 4, 2, 6, 1024, 256, 2),
    "paper": Case(32, 8, 2, 10, 128, 16, 1),
}
TINY = {"tiny": Case(3, 2, 2, 2, 8, 4, 1)}
LONG = 20.0  # seconds; what takes longer is timed once


def pgmax(g: hl.Grammar) -> Run:
    import jax
    import jax.numpy as jnp
    from pgmax import fgraph, fgroup, infer, vgroup

    levels = [vgroup.NDVarArray(num_states=g.num_symbols(l), shape=(g.num_nodes(l),)) for l in range(g.L + 1)]
    graph = fgraph.FactorGraph(levels)
    for l, rule in enumerate(g.rules):
        rows = np.column_stack([np.repeat(np.arange(len(rule)), g.m), rule.reshape(-1, g.s).numpy()])
        above, below = levels[l + 1], levels[l]
        families = [[above[i], *(below[g.s * i + j] for j in range(g.s))] for i in range(g.num_nodes(l + 1))]
        graph.add_factors(fgroup.EnumFactorGroup(variables_for_factors=families, factor_configs=rows))
    bp = infer.build_inferer(graph.bp_state, backend="bp")

    def one(evidence):
        arrays = bp.init(evidence_updates={levels[0]: jnp.log(evidence)})
        arrays = bp.run(arrays, num_iters=2 * g.L - 1, damping=0.0, temperature=1.0)
        marginals = infer.get_marginals(bp.get_beliefs(arrays))
        return [marginals[level] for level in levels]

    batched = jax.jit(jax.vmap(one))
    return lambda evidence: [np.asarray(x) for x in jax.block_until_ready(batched(evidence.contiguous().numpy()))]


def pgmpy(g: hl.Grammar) -> Run:
    from pgmpy.factors.discrete import DiscreteFactor
    from pgmpy.inference import BeliefPropagation
    from pgmpy.models import JunctionTree

    families = {
        (l, i): ((l, i), *((l - 1, g.s * i + j) for j in range(g.s)))
        for l in range(1, g.L + 1)
        for i in range(g.num_nodes(l))
    }
    tree, tables = JunctionTree(), []
    tree.add_nodes_from(families.values())
    tree.add_edges_from((families[l, i], families[l + 1, i // g.s]) for l, i in families if l < g.L)
    for rule in g.rules:
        table = np.zeros((len(rule), *[g.v] * g.s))
        for symbol, tuples in enumerate(rule.numpy()):
            table[symbol, *tuples.T] = 1
        tables.append(table)

    def one(evidence: np.ndarray) -> list[np.ndarray]:
        evidence, factors = evidence / evidence.max(1, keepdims=True), []
        for (l, i), family in families.items():
            table = tables[l - 1]
            for j in range(g.s if l == 1 else 0):
                table = table * evidence[g.s * i + j].reshape(-1, *[1] * (g.s - 1 - j))
            factors.append(DiscreteFactor(family, table.shape, table))
        tree.factors = factors
        propagation = BeliefPropagation(tree)
        propagation.calibrate()
        out = [np.empty((g.num_nodes(l), g.num_symbols(l))) for l in range(g.L + 1)]
        for belief in propagation.get_clique_beliefs().values():
            for axis, (l, i) in enumerate(belief.variables):  # in an order of its own
                weight = belief.values.sum(tuple(a for a in range(g.s + 1) if a != axis))
                out[l][i] = weight / weight.sum()
        return out

    return lambda evidence: [np.stack(x) for x in zip(*map(one, evidence.double().numpy()), strict=True)]


def ours(g: hl.Grammar, backend: str) -> Run:
    return lambda e: [x.numpy() for x in hl.infer(g, e, messages=False, backend=backend).marginals]


def contenders(case: Case) -> dict[str, tuple[Callable[[hl.Grammar], Run], int]]:
    """How to make each program for a grammar, and how many data it does at once."""
    return {
        "hierlib": (lambda g: ours(g, "cpu"), case.batch),
        "hierlib, plain torch": (lambda g: ours(g, "torch"), case.batch),
        "PGMax": (pgmax, case.pgmax),
        "pgmpy": (pgmpy, case.pgmpy),
    }


def measure(case: Case, rounds: int) -> dict:
    """Times by turns, agreement of all marginals with hierlib's, and ratios round by round."""
    rng = torch.Generator().manual_seed(0)
    g = hl.random_grammar(v=case.v, m=case.m, s=case.s, L=case.L, generator=rng)
    evidence = hl.epsilon_evidence(hl.sample(g, case.batch, generator=rng)[0], eps=0.5, v=case.v)
    runs, times, out = {}, {}, {}
    for name, (make, n) in contenders(case).items():
        try:
            run, part = make(g), evidence[:n]
            start = time.process_time()
            found = run(part)  # compiles and warms up; also the answer that is compared
            spent = (time.process_time() - start) / n * 1e6
            if name == "hierlib":
                truth = found
            differ = max(float(np.abs(a - b[:n]).max()) for a, b in zip(found, truth, strict=True))
            out[name] = {"data": n, "largest_difference_of_marginals": differ}
            runs[name], times[name] = (lambda run=run, part=part: run(part), n), []
            if spent * n > LONG * 1e6:
                times[name] = [spent]
        except Exception as error:  # whatever a peer raises is the finding
            out[name] = {"data": n, "failed": f"{type(error).__name__}: {error}"}
    once = {name for name, spent in times.items() if spent}
    for _ in range(rounds):
        for name, (run, n) in runs.items():
            if name not in once:
                start = time.process_time()
                run()
                times[name].append((time.process_time() - start) / n * 1e6)
    for name, spent in times.items():
        out[name]["microseconds_per_datum"] = {"median": float(np.median(spent)), "min": min(spent), "max": max(spent)}
        out[name]["rounds"] = len(spent)
        for other in ("hierlib", "hierlib, plain torch"):
            ratio = np.array(spent) / (times[other] if len(spent) == rounds else np.median(times[other]))
            out[name][f"times_slower_than_{other}"] = float(np.median(ratio))
    return {"parameters": case._asdict(), "contenders": out}


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each is timed.")] = 5,
    tiny: Annotated[bool, typer.Option(help="A toy size, to see that the benchmark works.")] = False,
    out: Annotated[Path, _paths.option(help="The result file.")] = FOLDER / "results" / "peers.json",
) -> None:
    """Measure, print a table, and write the result file."""
    warnings.simplefilter("ignore", FutureWarning)  # of the peers, about themselves
    torch.set_num_threads(1)
    made = provenance([])
    made["command"] = " ".join(["python benchmarks/peers.py", *["--tiny"] * tiny, f"--rounds {rounds}"])
    for package in ("pgmax", "jax", "pgmpy"):
        try:
            made["versions"][package] = version(package)
        except PackageNotFoundError:
            made["versions"][package] = "not installed"
    result = {"provenance": made, "cases": {}}
    for title, case in (TINY if tiny else CASES).items():
        result["cases"][title] = found = measure(case, rounds)
        print(f"\n{title}: {', '.join(f'{k}={x}' for k, x in case._asdict().items())}")
        for name, facts in found["contenders"].items():
            if "failed" in facts:
                print(f"  {name:22} {facts['failed']}")
                continue
            print(
                f"  {name:22} {facts['microseconds_per_datum']['median']:12.1f} µs a datum, "
                f"{facts['times_slower_than_hierlib']:10.1f} × hierlib's time, "
                f"marginals within {facts['largest_difference_of_marginals']:.1e}"
            )
    write_json(out, result)
    print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
