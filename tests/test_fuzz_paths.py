"""Fuzzing of paths and seeds as people type them: where they stand is where paths count from, and a seed is itself.

HIERLIB_FUZZ=10 tries ten times as many inputs, and other ones each time.
"""

import contextlib
import io
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hierlib import _paths, _seeds, book
from hierlib.book.cli import app
from hierlib.book.runs.params import BadRequest, resolve
from hierlib.book.runs.places import in_place
from hierlib.book.runs.run import Outcome
from hierlib.book.runs.targets import target
from hierlib.networks.fit import Schedule, _generator
from tests import fuzz, sweeps, tiny
from tests.fuzz import only
from tests.test_paths import PARAMETERS

INPUTS = {"places": 250, "located": 100, "commands": 150, "seeds": 200}


def many(what):
    """So many inputs, the same ones each time unless more are asked for."""
    return fuzz.many(INPUTS[what])


def test_there_are_enough():
    assert sum(INPUTS.values()) >= 700


PARTS = st.sampled_from(
    [
        *("..", "..", ".", "data", "val", "a", "book", "_models", "own", "n-0.bin", "net-*.bin", "*", "**", "[1]"),
        *("x y", "{x}", "{}", "{0}", "~", "~nobody-here", "ä", "名前", "a\u0301", "", " ", "\n", "\t", "$HOME", "%s"),
        *("-p", "--", "'", '"', "a\\b", "x" * 300, "\udcff", "\x00", "con", "a=b", "resnet18=n-0.bin", "#", "?", "<b>"),
    ]
)
ENDS = st.sampled_from(["", "", "", "/", "//", "/."])
PATHS = st.builds(lambda parts, end: "/".join(parts) + end, st.lists(PARTS, min_size=1, max_size=4), ENDS)
TEXTS = PATHS | st.builds(lambda a, b: f"{a} {b}", PATHS, PATHS) | st.text(max_size=8)
FOLDERS = st.sampled_from([".", "book", "data/val", "../away"])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A checkout far below the folder of the tests, where nothing is executed; what is typed cannot lead out of it."""
    top = tmp_path_factory.mktemp("paths")
    root = sweeps.make(top / "1/2/3/4/5/check out", **{"02_two": tiny.page("Two", "1", parameters=PARAMETERS)})
    for name in ("book/_models/own/a", "book/_models/net-0.bin", "data/val/a", "n-0.bin", "x y/{x}/a", "../away/val/a"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    before = os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(top / "home"))
        (top / "home" / "val").mkdir(parents=True)
        patch.setattr("hierlib.book.runs.sweep.execute", lambda job: Outcome(job, job.folder, 0.1))
        patch.setattr("hierlib.book.runs.sweep.processes", sweeps.here)
        patch.setattr("hierlib.book.commands.execute_all", lambda jobs, *_: [Outcome(j, j.folder, 0.1) for j in jobs])
        yield root
        os.chdir(before)


@many("places")
@given(folder=FOLDERS, name=st.sampled_from(["images", "nets", "keep"]), text=TEXTS)
def test_places(root, folder, name, text):
    """What is taken leads, from where the chapter runs, to what it led to from where it was typed."""
    os.chdir(root / folder)
    two = target(root, "two")
    with only(BadRequest):
        found = in_place(two, {name: text})[name]
        with contextlib.suppress(BadRequest):  # a text of two lines, say
            resolve(two.parameters, {name: found})
        if name == "nets":
            return
        if found == "":
            assert text == "" and name == "keep"
            return
        typed = Path(os.path.expanduser(text))
        assert os.path.realpath(root / "book" / found) == os.path.realpath(typed)
        assert name == "keep" or _paths.there(root / "book" / found)


@many("located")
@given(folder=FOLDERS, text=TEXTS)
def test_located(root, folder, text):
    """What a chapter names is there, or is refused."""
    os.chdir(root / folder)
    with only(ValueError):
        assert _paths.there(book.path(text))


OUTS = PATHS.filter(lambda text: not text.startswith("/"))  # no folder is made outside of the test's own
LINES = st.one_of(
    st.tuples(st.just("run"), st.just("two"), st.just("-p"), st.sampled_from(["images", "nets", "keep"]), TEXTS),
    st.tuples(st.just("run"), st.just("noise"), st.just("--out"), OUTS),
    st.tuples(st.just("sweep"), st.just("noise"), st.just("--out"), OUTS),
    st.tuples(st.just("sweep"), st.just("noise"), st.just("--grid"), PATHS, st.just("--out"), st.just("out")),
    st.tuples(st.just("collect"), PATHS),
    st.tuples(st.just("collect"), st.just("out"), st.just("--out"), OUTS),
)


@many("commands")
@given(folder=FOLDERS, words=LINES)
def test_commands(root, folder, words):
    """Done or tried (0, 1), or refused with a reason (2); no folder is called ~ unless that was written out."""
    os.chdir(root / folder)
    out, err = io.StringIO(), io.StringIO()
    with only(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        app(words)
    assert end.value.code in (0, 1, 2) if folder != "../away" else end.value.code == 2, words
    assert end.value.code != 2 or (out.getvalue() + err.getvalue()).strip(), words
    assert "Traceback" not in out.getvalue() + err.getvalue()
    assert words[-1].startswith("~") <= (not (Path.cwd() / "~").exists())


NUMBERS = st.integers() | st.integers(-5, 2**66) | st.sampled_from([0, 2**22, 20240216, 2**31, 2**32 - 1, 2**32, 2**63])
SEEDS = NUMBERS.map(str) | st.floats().map(str) | st.text(max_size=6) | st.sampled_from(["9" * 5000, "1e3", "٣", "+1"])


@many("seeds")
@given(text=SEEDS, stream=st.integers(1, 2), number=st.integers(0, 2**40))
def test_seeds(root, text, stream, number):
    """A seed is refused, or taken by all that take seeds, and none is another one."""
    os.chdir(root)
    with only(ValueError):
        seed = _seeds.parse(text)
        assert (
            int(text) == seed == _seeds.derived(seed) == book.setup(seed).initial_seed() == Schedule(1, seed=seed).seed
        )
        assert 0 <= _seeds.derived(1000 * seed + number) <= _seeds.LARGEST
        first, again = (torch.rand(2, generator=_generator("cpu", seed, number % 2**20, stream)) for _ in range(2))
        assert torch.equal(first, again)
    with only(BadRequest):
        assert resolve(target(root, "noise").parameters, {"seed": text})["seed"] == int(text)
