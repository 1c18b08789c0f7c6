"""The derivations that the chapters show are those that the library computes.

The derivation cells of the chapters are executed as they stand; what they derive is then held against the library.
"""

from pathlib import Path

import jupytext
import numpy as np
import pytest
import sympy as sp

from hierlib.theory import meanfield

BOOK = Path(__file__).parents[1] / "book"
IMPORTS = "import sympy as sp\nfrom fractions import Fraction\nfrom itertools import permutations, product\n"


def derivation(chapter: str) -> dict:
    """The names that the cells tagged `derivation` of a chapter define."""
    cells = jupytext.read(BOOK / chapter).cells
    source = [cell.source for cell in cells if "derivation" in cell.metadata.get("tags", [])]
    assert source, f"{chapter} derives nothing"
    assert not any("meanfield" in cell for cell in source), "a derivation that uses its result is none"
    names: dict = {}
    exec(compile(IMPORTS + "\n".join(source), chapter, "exec"), names)
    return names


@pytest.fixture(scope="module")
def down() -> dict:
    return derivation("06_going-down.md")


def random_parameters(number: int):
    rng = np.random.default_rng(7)
    for s in (2, 3, 4, 5) * (number // 4):
        v = int(rng.integers(2, 41))
        m = int(rng.integers(1, v ** (s - 1) + 1))
        yield rng.uniform(0.001, 0.999), rng.uniform(0.001, 0.999), v, m, s


@pytest.mark.slow
@pytest.mark.parametrize("name, library", [
    ("F_up", lambda q, p, v, m, s: meanfield.upward_map(p, v, m, s)),
    ("F_down", meanfield.downward_map),
    ("marginal", lambda q, p, v, m, s: meanfield.marginal(p, q, v)),
])  # fmt: skip
def test_library_is_the_derivation(down, name, library):
    derived = sp.lambdify([down[x] for x in ("q", "p", "V", "M", "S")], down[name])
    for parameters in random_parameters(200):
        assert abs(derived(*map(float, parameters)) - library(*parameters)) < 1e-12, parameters


def test_recursion_is_the_derivation(down):
    for eps, _, v, m, s in random_parameters(40):
        for derived, library in zip(down["levels"](eps, v, m, s, 7), meanfield.solve(eps, v, m, s, 7), strict=True):
            assert np.abs(np.array(derived) - library).max() < 1e-12, (eps, v, m, s)


def test_library_at_the_corners(down):
    values = {down["V"]: 32, down["M"]: 8, down["S"]: 2}
    assert float(down["synonyms"].subs(values)) == pytest.approx(
        float(meanfield.downward_map(1, 1, 32, 8, 2)), abs=1e-12
    )
    flat = float(meanfield.downward_map(1 / 32, 1 / 32, 32, 8, 2)) - 1 / 32
    assert float(down["chance"].subs(values)) == pytest.approx(flat, abs=1e-12) and flat > 0.001


@pytest.mark.slow
def test_effective_noise_inverts_the_belief_of_a_leaf():
    noise = derivation("07_from-time-to-noise.md")
    eps_of = sp.lambdify([noise["mean"], noise["V"]], noise["eps_of"])
    for eps, _, v, _, _ in random_parameters(40):
        assert abs(eps_of(float(meanfield.leaf_belief(eps, v)), v) - eps) < 1e-12
