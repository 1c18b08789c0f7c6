"""One source: the formulas of hierlib.theory.meanfield are those that the chapters derive.

The cells tagged `derivation` of a chapter are executed as they stand there; their assertions run, and what they
derive is compared with the library on random parameters.
"""

from functools import cache
from pathlib import Path

import jupytext
import numpy as np
import pytest
import sympy as sp

from hierlib.theory import meanfield as mf

BOOK = Path(__file__).parents[1] / "book"
# chapter: derived name → the library's function and its arguments, named as the symbols are in the chapter
DERIVED = {
    "04_averaging-over-grammars": {
        "F": (mf.upward_map, "p v m s"),
        "noise": (
            lambda eps, v, m, s: v / (v - 1) * (1 - mf.upward_map(1 - eps + eps / v, v, m, s)),
            "epsilon v m s",
        ),
        "excess": (mf.upward_excess, "p v m s"),
        "fraction": (lambda v, m, s: (m * v - 1) / (v**s - 1), "v m s"),
    },
    "05_lost-all-at-once": {
        "F": (mf.upward_map, "p v m s"),
        "slope": (mf.upward_map_derivative, "p v m s"),
        "p_star": (lambda v, m: mf.fixed_points(v, m, 2)[1], "v m"),
        "eps_star": (lambda v, m: mf.critical_noise(v, m, 2), "v m"),
        "m_c": (mf.m_c, "v s"),
        "m_KS": (mf.m_KS, "v s"),
    },
}


@cache
def derivation(chapter: str) -> dict:
    """What the derivation cells of a chapter define; they import what they need, and nothing of the mean field."""
    notebook = jupytext.read(BOOK / f"{chapter}.md")
    cells = [c.source for c in notebook.cells if "derivation" in c.metadata.get("tags", [])]
    assert cells, f"{chapter} has no cell tagged derivation"
    assert not any("hierlib" in source for source in cells), "a derivation must not use what it is to check"
    found = {}
    for source in cells:
        exec(compile(source, f"{chapter}.md", "exec"), found)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("chapter, name", [(c, n) for c, names in DERIVED.items() for n in names])
def test_library_is_what_the_chapter_derives(chapter, name):
    function, arguments = DERIVED[chapter][name]
    expression = sp.sympify(derivation(chapter)[name])
    names = arguments.split()
    if name == "noise":
        expression = expression.subs(sp.Symbol("p", positive=True), _leaf_belief())
    symbols = [next((x for x in expression.free_symbols if x.name == n), sp.Symbol(n)) for n in names]
    assert {x.name for x in expression.free_symbols} <= set(names)
    derived = sp.lambdify(symbols, expression)
    rng = np.random.default_rng(0)
    for s in (2, 3, 4, 5) * 10:
        v = int(rng.integers(3, 40))
        between = "p_star" in DERIVED[chapter] and name in ("p_star", "eps_star")
        top = v / 2 if between else v ** (s - 1)  # ε* is clipped outside the middle phase
        at = {
            "p": rng.uniform(),
            "epsilon": rng.uniform(),
            "v": v,
            "s": s,
            "m": rng.uniform(1, top),
        }
        if between and not mf.m_KS(v, 2) < at["m"] < mf.m_c(v, 2):
            continue
        values = [at[n] for n in names]
        assert derived(*values) == pytest.approx(float(function(*values)), rel=1e-12, abs=1e-12)


def _leaf_belief():
    eps, v = sp.Symbol("epsilon", positive=True), sp.Symbol("v", positive=True)
    return 1 - eps + eps / v
