"""Fuzzing of the command line and of the public API: only documented exceptions, no hang, no partial file."""

import contextlib
import io
import json
import os
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hierlib as hl
from hierlib.book.cli import app
from hierlib.book.runs import grid
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.params import parse_parameters
from hierlib.book.runs.run import Outcome
from hierlib.experiments import curves
from hierlib.theory import meanfield
from tests import sweeps, tiny
from tests.fuzz import many, only

INPUTS = {
    "commands": 500,
    "grids": 500,
    "cells": 200,
    "grammars": 250,
    "evidence": 250,
    "meanfield": 350,
    "curves": 250,
}


def test_there_are_enough():
    assert sum(INPUTS.values()) >= 2000


# --- the command line -------------------------------------------------------------------------------------------

ANY = st.text(max_size=12) | st.sampled_from(["\x00", "\udcff", "-", "--", "=", "a" * 300, "<script>", "%s{}", "[red]"])
NUMBERS = st.sampled_from(
    ["1", "2", "0", "-1", "4", "1.5", "1e999", "nan", "9" * 30, "1:4", "1:4:0", "1,2", "0:1:.1", ":"]
)
VALUES = NUMBERS | st.integers(-(10**6), 10**6).map(str) | ANY
NAMES = st.sampled_from(["a", "b", "seed", "seconds", "word", "m", "v", "profile", "c", "", "a=1"]) | ANY
SLUGS = st.sampled_from(["noise", "fragile", "one", "01_one", "../one", "index", "empty", ""]) | ANY
FOLDERS = st.sampled_from(["out", "deep/er", "_toc.yml", "book", "results", "a\x00b", "x" * 300, "_toc.yml/x", "."])
FILES = st.sampled_from(["grid.yaml", "bad.yaml", "none.yaml", "book", "\x00", "all.nc", "no/where.nc", "out"])
OPTIONS = st.one_of(
    st.tuples(st.sampled_from(["-p", "--parameter"]), NAMES, VALUES),
    st.tuples(st.just("--out"), FOLDERS | FILES),
    st.tuples(st.just("--grid"), FILES),
    st.tuples(st.sampled_from(["--jobs", "-j", "--timeout", "--batch", "--wait"]), VALUES),
    st.tuples(st.just("--cluster"), st.sampled_from(["local:2", "local:0", "tcp://h:1", "http://h", "tcp://"]) | ANY),
    st.tuples(st.just("--resources"), st.sampled_from(["GPU=1", "GPU=0", "GPU", "=1"]) | ANY),
    st.tuples(st.sampled_from(["--only", "--of"]), SLUGS),
    st.tuples(st.sampled_from(["--dry-run", "--retry", "--force", "-f", "--help", "-h", "--version", "-p"])),
    st.tuples(ANY),
)
COMMANDS = st.sampled_from(["sweep", "sweep", "sweep", "run", "run", "collect", "build", "list", "zip", "walk"]) | ANY
LINES = st.tuples(COMMANDS, st.lists(SLUGS | FOLDERS, max_size=2), st.lists(OPTIONS, max_size=4))


@pytest.fixture(scope="module")
def stubbed(tmp_path_factory):
    """A checkout where nothing is executed: a run is over when it begins, and leaves nothing."""
    root = sweeps.make(tmp_path_factory.mktemp("fuzz") / "checkout")
    (root / "grid.yaml").write_text("- {a: '1:3', seed: [1, 2]}\n- {a: 9}\n")
    (root / "bad.yaml").write_text("a: [1")
    (root / "out").mkdir()
    before = os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hierlib.book.runs.sweep.execute", lambda job: Outcome(job, job.folder, 0.1))
        patch.setattr("hierlib.book.runs.sweep.processes", sweeps.here)
        patch.setattr("hierlib.book.commands.execute_all", lambda jobs, *_: [Outcome(j, j.folder, 0.1) for j in jobs])
        patch.setattr("hierlib.book.commands.build_site", lambda *_, **__: True)
        patch.setitem(sys.modules, "dask.distributed", None)
        os.chdir(root)
        yield root
        os.chdir(before)


def files(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@many(INPUTS["commands"])
@given(line=LINES)
def test_the_command_line(stubbed, line):
    """It ends with 0 or 1 (done or tried), or with 2 and a reason; what it has written is nothing or whole."""
    command, slugs, options = line
    words = [command, *slugs, *(word for option in options for word in option)]
    before, out, err = files(stubbed), io.StringIO(), io.StringIO()
    with only(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        app(words)
    assert end.value.code in (0, 1, 2), words
    assert end.value.code != 2 or err.getvalue().strip() or out.getvalue().strip(), words
    assert "Traceback" not in out.getvalue() + err.getvalue()
    assert files(stubbed) == before, words


# --- what readers write: grids and parameter cells ---------------------------------------------------------------

TINY = parse_parameters(tiny.PARAMETERS + 'word: str = "a"  # word\non: bool = True  # switch\n')
SCRAPS = st.lists(st.sampled_from([*"0123456789:,.-+eE", "1:9", "nan", "true"]), max_size=10).map("".join)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | SCRAPS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
YAML = st.dictionaries(st.sampled_from(list(TINY)) | st.text(max_size=4), PLAIN, max_size=3).map(json.dumps)


@many(INPUTS["grids"])
@given(
    axes=st.dictionaries(st.sampled_from(list(TINY)), SCRAPS | VALUES, max_size=3),
    text=YAML | st.text(max_size=40) | st.none(),
)
def test_grids(tmp_path_factory, axes, text):
    """Points that the parameters allow, each once and not too many; or a refusal."""
    path = None
    if text is not None:
        path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
        path.write_text(text, "utf-8", "replace")
    with only(BadRequest):
        found = list(grid.points(TINY, grid.grids(TINY, axes, path, chapter="tiny")))
        assert 1 <= len(found) <= grid.LIMIT
        assert len({tuple(point.values()) for point in found}) == len(found)
        for point in found[:20]:
            assert point["m"] <= point["v"] ** (point["s"] - 1) and 0 <= point["eps"] <= 1
            assert all(TINY[name].check(value) == value for name, value in point.items())


LINE = st.lists(
    st.sampled_from(
        ["m", ": ", "int", "float", "str", " = ", "8", "-1", '"x"', "  # ", "rules", "; ", "1 <= m", "\n", "("]
    )
    | st.text(max_size=5),
    max_size=12,
)


@many(INPUTS["cells"])
@given(text=LINE.map("".join))
def test_parameter_cells(text):
    with only(BadRequest):
        for name, parameter in parse_parameters(text).items():
            assert parameter.check(parameter.default) == parameter.default and name.isidentifier()


# --- the library --------------------------------------------------------------------------------------------------

SMALL = st.sampled_from([1, 2, 2, 3, 4, 5, 8]) | st.sampled_from([-1, 0, 2.0, 2.5, float("nan"), True])
REAL = st.floats(0, 1) | st.floats() | st.sampled_from([0, 1, -0.0, 1e-300, 5e-324, 1 - 2**-53])


def generator():
    return torch.Generator().manual_seed(0)


@many(INPUTS["grammars"])
@given(
    v=SMALL,
    m=SMALL,
    s=st.sampled_from([1, 2, 2, 3, 0]),
    L=st.sampled_from([1, 2, 3, 0, -1]),
    n=st.sampled_from([1, 3, 0, -1]),
)
def test_grammars_and_their_data(v, m, s, L, n):
    """A datum is parsed to its own tree; sizes that are none are refused."""
    with only(ValueError):
        g = hl.random_grammar(v=v, m=m, s=s, L=L, generator=generator())
        x = hl.sample(g, n, generator=generator())
        assert [y.shape for y in x] == [(n, s ** (L - l)) for l in range(L + 1)]
        assert all(torch.equal(a, b) for a, b in zip(hl.parse(g, x[0]), x, strict=True))


GRAMMARS = [hl.random_grammar(v=v, m=m, s=s, L=L, generator=generator()) for v, m, s, L in ((3, 2, 2, 2), (4, 1, 3, 1))]


@many(INPUTS["evidence"])
@given(
    g=st.sampled_from(GRAMMARS),
    shape=st.sampled_from(["right", "right", "right", "flat", "wide", "short"]),
    numbers=st.lists(REAL, min_size=3, max_size=12),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.int64]),
    t=REAL,
    kind=st.sampled_from(["given", "eps", "gauss", "mask", "uniform"]),
)
def test_evidence_and_inference(g, shape, numbers, dtype, t, kind):
    """Whatever the evidence: normalised beliefs, or a refusal; never nan."""
    x = hl.sample(g, 2, generator=generator())[0]
    sizes = {"right": (2, g.d, g.v), "flat": (g.d, g.v), "wide": (2, g.d, g.v + 1), "short": (2, g.d - 1, g.v)}[shape]
    processes = {"gauss": hl.GaussianNoise, "mask": hl.MaskNoise, "uniform": hl.UniformNoise}
    with only(ValueError):
        if kind == "given":
            e = torch.tensor(np.resize(numbers, sizes)).to(dtype)
        elif kind == "eps":
            e = hl.epsilon_evidence(x, eps=t, v=g.v)
        else:
            noise = processes[kind](v=g.v)
            e = noise.evidence(noise.corrupt(x, t, generator=generator()), t)
        b = hl.infer(g, e, backend="torch")
        for level in b.marginals:
            assert torch.isfinite(level).all() and torch.allclose(level.sum(-1), torch.ones(()).to(level), atol=1e-4)
        assert not torch.isnan(b.log_evidence).any()
        y = hl.posterior_sample(g, e, generator=generator(), backend="torch")
        assert y[0].shape == (2, 1, g.d) and (y[0] < g.v).all()


@many(INPUTS["meanfield"])
@given(
    v=SMALL, m=SMALL | REAL, s=SMALL, L=st.sampled_from([1, 2, 30, 0, -1, 2.5]), eps=REAL | st.lists(REAL, max_size=3)
)
def test_mean_field(v, m, s, L, eps):
    """Probabilities, or a refusal."""
    with only(ValueError):
        for beliefs in meanfield.solve(eps, v, m, s, L):
            assert ((beliefs >= 0) & (beliefs <= 1)).all()
    with only(ValueError):
        assert 0 <= meanfield.critical_noise(v, m, s) <= 1 and meanfield.phase(v, m, s) in ("always", "below", "never")
        assert meanfield.fixed_points(v, m, s).shape == (3,)


CURVE = st.lists(REAL, max_size=12)


@many(INPUTS["curves"])
@given(t=CURVE | st.integers(2, 9).map(lambda n: list(np.geomspace(0.1, 1, n))), y=CURVE, chance=REAL)
@pytest.mark.filterwarnings("ignore")
def test_curves(t, y, chance):
    y = list(np.resize(y, len(t))) if y and t else y
    with only(ValueError):
        found = curves.half_height(t, y, chance=chance)
        assert np.isnan(found.t) or min(t) * 0.999 <= found.t <= max(t) * 1.001
    with only(ValueError):
        at = curves.crossing(t, y, y[::-1])
        assert np.isnan(at) or min(t) * 0.999 <= at <= max(t) * 1.001
