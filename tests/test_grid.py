"""The grid of a sweep: what a range means, and what is refused before anything runs."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierlib.book.runs import grid
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.params import parse_parameters
from tests.tiny import PARAMETERS

TINY = parse_parameters(PARAMETERS + 'on: bool = True  # switch\nname: str = "a"  # word\nbig: int = 0  # any\n')


SCALED = parse_parameters(
    'profile: str = "quick"  # size; profile in ("quick", "full")\n'
    "n: int = 8  # grammars; full: 32\nm: int = 2  # rules; m <= n\n"
)


def grids(given=None, file=None):
    return grid.grids(TINY, given or {}, file, chapter="tiny")


@pytest.mark.parametrize(
    "name, text, values",
    [
        ("seed", "0:4", [0, 1, 2, 3]),
        ("seed", "2:20:6", [2, 8, 14]),
        ("seed", "2:21:6", [2, 8, 14, 20]),
        ("seed", "5:0:-2", [5, 3, 1]),
        ("seed", "7", [7]),
        ("seed", "1,0,5:7", [1, 0, 5, 6]),
        ("eps", "0:0.3:0.1", [0.0, 0.1, 0.2]),
        ("eps", "0:1:.25", [0.0, 0.25, 0.5, 0.75]),
        ("eps", "1e-2:0.031:1e-2", [0.01, 0.02, 0.03]),
        ("on", "true,false", [True, False]),
        ("name", "a:b, c", ["a:b", " c"]),
        ("seed", " 7, 1:3 , 9", [7, 1, 2, 9]),
        ("on", "true, false", [True, False]),
    ],
)
def test_axes(name, text, values):
    found = grid.axis(TINY[name], text)
    assert found == values and [type(x) for x in found] == [type(x) for x in values]


@pytest.mark.parametrize(
    "name, text, why",
    [
        ("seed", "4:4", "is empty"),
        ("seed", "4:0", "is empty"),
        ("seed", "0:4:-1", "is empty"),
        ("seed", "0:4:0", "the step"),
        ("seed", "0:4:1:1", "expected start:stop"),
        ("seed", ":4", "expected an integer"),
        ("seed", "0:1.5", "expected an integer"),
        ("seed", "", "expected an integer"),
        ("seed", "1,,2", "expected an integer"),
        ("seed", "1 2", "expected an integer"),
        ("seed", "1,2,1", "stands twice"),
        ("seed", "0:9,4", "stands twice"),
        ("eps", "0,0.0", "stands twice"),
        ("eps", "0:nan:1", "expected a finite number"),
        ("eps", "0:1:1e-9", "a sweep at most"),
        ("eps", "0:1e308:1e-308", "cannot be counted|a sweep at most"),
        ("seed", "0:10000000", "a sweep at most"),
        ("seed", "0:150000,200000:350000", "a sweep at most"),
        ("m", "1:9:3", "does not hold for v = 4, s = 2, m = 7"),
        ("on", "0:1", "true or false"),
        ("n", "1", "takes no parameter 'n'"),
        ("sed", "1", "did you mean 'seed'"),
    ],
)
def test_refused_with_what_would_do(name, text, why):
    start = time.process_time()
    with pytest.raises(BadRequest, match=why) as error:
        grids({name: text})
    assert "tiny takes:\n  v: int = 4" in str(error.value)
    assert time.process_time() - start < 2


def test_ten_million_points_are_refused_at_once():
    start = time.process_time()
    with pytest.raises(BadRequest, match=r"10,000,000 points; a sweep takes at most 200,000(.|\n)*sweep in parts"):
        grids({"seed": "0:1000", "big": "0:10000"})
    with pytest.raises(BadRequest, match="points; a sweep takes at most"):
        grids({"seed": "0:100000", "big": "0:100000", "eps": "0:1:1e-5"})
    assert time.process_time() - start < 2


def test_points():
    axes = grids({"m": "1:3", "seed": "0,7"})
    found = list(grid.points(TINY, axes))
    assert [(p["m"], p["seed"]) for p in found] == [(1, 0), (1, 7), (2, 0), (2, 7)]
    assert all(list(p) == list(TINY) and p["v"] == 4 for p in found)
    assert len(list(grid.points(TINY, grids()))) == 1, "a grid without axes is the defaults"


def test_a_constraint_is_checked_at_every_point():
    assert len(list(grid.points(TINY, grids({"v": "4,8", "m": "1:5", "seed": "0:5"})))) == 40
    with pytest.raises(BadRequest, match="does not hold for v = 4, s = 2, m = 5"):
        grids({"v": "8,4", "m": "1:6", "seed": "0:5"})


def test_a_file(tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text(
        '- {v: 8, m: "2:8:3", name: "<b>"}\n- {v: [16, 32], m: [2, 4], eps: 0}\n- {v: 16, m: 2, eps: 0.0}\n'
    )
    found = [(p["v"], p["m"], p["seed"]) for p in grid.points(TINY, grids({"seed": "0:2"}, file))]
    assert found[:4] == [(8, 2, 0), (8, 2, 1), (8, 5, 0), (8, 5, 1)]
    assert len(found) == len(set(found)) == 12, "the third grid has nothing new"


@pytest.mark.parametrize(
    "text, values",
    [
        ("big: 1:30", list(range(1, 30))),
        ("big: 2:20:6", [2, 8, 14]),
        ("{big: 0:2, eps: 0}", [0, 1]),
        ("big: [1:3, 7, 010]", [1, 2, 7, 10]),
        ("big: 4, 5", [4, 5]),
        ("big:\n- 4\n- '5'", [4, 5]),
    ],
)
def test_a_file_says_what_the_command_line_says(tmp_path, text, values):
    """YAML by itself would read 1:30 as ninety, base sixty, and 010 as eight."""
    (tmp_path / "grid.yaml").write_text(text)
    assert [p["big"] for p in grid.points(TINY, grids({}, tmp_path / "grid.yaml"))] == values


def test_a_text_in_a_file_is_one_value(tmp_path):
    (tmp_path / "grid.yaml").write_text("name: ['a, b', 5, true]\non: [true, false]")
    found = [(p["name"], p["on"]) for p in grid.points(TINY, grids({}, tmp_path / "grid.yaml"))]
    assert found == [(name, on) for name in ("a, b", "5", "true") for on in (True, False)]


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "holds no grid"),
        ("[]", "holds no grid"),
        ("{}", "holds no grid"),
        ("m", "holds no grid"),
        ("m: []", "the list is empty"),
        ("m: 2.5", "expected an integer"),
        ("m: yes", "expected an integer"),
        ("m: ~", "expected an integer"),
        ("m:", "expected an integer"),
        ("m: {a: 1}", "expected ints, got a dict"),
        ("m: [[1]]", "expected ints, got a list"),
        ("m: 2020-01-01", "expected an integer"),
        ("on: yes", "expected true or false"),
        ("m: [1, 1]", "stands twice"),
        ("m: 1\nm: 2", "m: stands twice in one grid"),
        ("n: 1", "takes no parameter 'n'"),
        ("2: 1", "takes no parameter '2'"),
        ("[a]: 1", "names are words|is no YAML grid"),
        ("m: 2\nseed: 1", "set both in"),
        ("m: [1", "is no YAML grid"),
        ("m: !!python/object/apply:os.system ['touch OWNED']", "expected an integer"),
        ("m: \x00", "is no YAML grid"),
        ("m: " + "1" * 5000, "expected an integer"),
        ("[" * 5000, "is no YAML grid"),
        ("? [a, b]\n: 1", "names are words|is no YAML grid"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nname: [*b,*b,*b,*b,*b]",
            "takes no parameter|got a list",
        ),
        ('name: "\\e[31m"', "expected printable"),
    ],
)
def test_a_bad_file(tmp_path, monkeypatch, text, why):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.yaml").write_text(text, "utf-8")
    with pytest.raises(BadRequest, match=why):
        grids({"seed": "0:2"}, tmp_path / "grid.yaml")
    assert [p.name for p in tmp_path.iterdir()] == ["grid.yaml"]


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"m: \xff")
    (tmp_path / "long.yaml").write_text("m: [" + "1, " * 400_000 + "]")
    for name, why in (
        ("no.yaml", "cannot be read"),
        ("latin.yaml", "is no YAML"),
        ("long.yaml", "more than"),
        (".", "cannot be read"),
    ):
        with pytest.raises(BadRequest, match=why):
            grids({}, tmp_path / name)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-9, 9).filter(bool))
def test_ranges_are_those_of_python(start, stop, step):
    expected = list(range(start, stop, step))
    try:
        assert grid.axis(TINY["big"], f"{start}:{stop}:{step}") == expected
    except BadRequest:
        assert not expected


@given(st.integers(0, 30), st.integers(1, 9), st.integers(1, 3))
def test_decimal_ranges_have_no_rounding(start, step, digits):
    """As many values as in whole numbers, each the double nearest to the decimal."""
    scale = 10**digits
    found = grid.axis(TINY["eps"], f"{start / scale}:{(start + 10 * step) / scale}:{step / scale}")
    assert found == [(start + i * step) / scale for i in range(10)]


def test_each_point_has_the_defaults_of_its_profile():
    axes = grid.grids(SCALED, {"profile": "quick,full", "m": "2,8"}, chapter="scaled")
    assert [p["n"] for p in grid.points(SCALED, axes)] == [8, 8, 32, 32]
    with pytest.raises(BadRequest, match="m <= n does not hold for n = 8, m = 9"):
        grid.grids(SCALED, {"profile": "full,quick", "m": "2,9"}, chapter="scaled")
    assert grid.grids(SCALED, {"profile": "full", "m": "2,9"}, chapter="scaled")
