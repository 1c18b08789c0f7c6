"""Fuzzing of datasets: what is read from a file, and what is collected from runs, is what was given, or is refused."""

import json
import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from hierlib._netcdf import same, write
from hierlib.book.page.results import plain
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.join import Part, join
from tests.fuzz import many, only

INPUTS = {"files": 300, "joins": 350, "json": 150}
pytestmark = pytest.mark.filterwarnings("ignore")


def test_there_are_enough():
    assert sum(INPUTS.values()) >= 700


NAMES = st.sampled_from(["x", "k", "seconds", "t", "main:k", "a/b", "ü", "", "x:words"]) | st.text(max_size=3)
FLOATS = st.sampled_from([0.0, -0.0, 0.1, 0.1 + 0.2, 0.3, 1e-300, 5e-324, math.inf, math.nan, 2.0**53]) | st.floats()
INTS = st.sampled_from([0, 1, -1, 255, 300, 2**53 + 1, -(2**63), 2**63 - 1]) | st.integers(-(2**63), 2**63 - 1)
TEXT = st.sampled_from(["", "a", "nan", "0", "ü", "a\0b", "\udcff"]) | st.text(max_size=4)
MIXED = st.one_of(FLOATS, INTS, TEXT, st.none(), st.booleans(), st.just(2**70), st.just(1j))
SIZE = st.integers(0, 3)
TYPES = {
    "f": st.sampled_from(["f2", "f4", "f8", ">f8", "g"]),
    "i": st.sampled_from(["u1", "i1", "i2", "u4", "i8", "u8"]),
}


@st.composite
def arrays(draw, size, odd=True):
    """An array of that size; `odd`: also of what netCDF does not hold."""
    kind = draw(st.sampled_from(["f", "f", "i", "i", "word", "bool", "time", *(["mixed"] if odd else [])]))
    some = {"f": FLOATS, "i": INTS, "word": TEXT if odd else st.text("abü", max_size=3), "bool": st.booleans()}
    some |= {"time": st.integers(0, 10**18), "mixed": MIXED}
    items = draw(st.lists(some[kind], min_size=size, max_size=size))
    if kind == "time":
        return np.array(items, "i8").astype("M8[ns]")
    if kind in ("word", "mixed"):
        return np.array([*items, None], object)[:-1]
    dtype = draw(TYPES[kind]) if kind in TYPES else bool
    dtype = "f4" if dtype in ("f2", ">f8", "g") and not odd else dtype
    with np.errstate(all="ignore"):
        return np.array(items, {"f": "f8", "i": "i8"}.get(kind, bool)).astype(
            dtype if odd or dtype not in ("f2", "g") else "f4"
        )


ATTRIBUTES = st.dictionaries(
    st.sampled_from(
        ["units", "scale_factor", "_FillValue", "missing_value", "dtype", "coordinates", "about", "calendar"]
    ),
    st.sampled_from(["s", "days since 2000-01-01", 1, 2.5, -1, math.nan, [1, 2], [1], True, None, {}, "", "bool"]),
    max_size=2,
)


@st.composite
def datasets(draw):
    size = draw(SIZE)
    names = draw(st.lists(NAMES, max_size=3, unique=True))
    data = xr.Dataset(
        {n: ("i", draw(arrays(size)), draw(ATTRIBUTES)) for n in names if n != "i"}, attrs=draw(ATTRIBUTES)
    )
    if draw(st.booleans()):
        data = data.assign_coords(i=draw(arrays(size)))
    encoding = st.sampled_from([{}, {"dtype": "i1"}, {"_FillValue": 0}, {"scale_factor": 0.1}])
    for name in data.variables:
        data[name].encoding = draw(encoding)
    return data


@many(INPUTS["files"])
@given(data=datasets(), packed=st.booleans())
def test_files(tmp_path_factory, data, packed):
    """It is refused and nothing is left, or read as it was."""
    folder = tmp_path_factory.getbasetemp() / "fuzz-files"
    folder.mkdir(exist_ok=True)
    with only(ValueError):
        write(data, folder / "a.nc", packed=packed)
        with xr.open_dataset(folder / "a.nc") as read:
            assert set(read.variables) == set(data.variables) and set(read.coords) == set(data.coords)
            assert all(same(data[n].values, read[n].values) for n in data.variables)
    (folder / "a.nc").unlink(missing_ok=True)
    assert not list(folder.iterdir())


@st.composite
def runs(draw):
    """Runs of two parameters, some points missing, each with a dataset of its own types, labels and names."""
    points = draw(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.1, 0.3, 0.1 + 0.2])), min_size=1, max_size=4,
                           unique=True))  # fmt: skip
    names = draw(st.lists(st.sampled_from(["x", "y", "k", "seconds", "main:k"]), min_size=1, max_size=2, unique=True))
    labels = draw(st.sampled_from(["none", "alike", "own", "own"]))
    shared, found = draw(SIZE), []
    for n, (k, z) in enumerate(points):
        size = shared if labels == "alike" else draw(SIZE)
        data = xr.Dataset({name: ("t", draw(arrays(size, odd=False))) for name in names})
        if labels == "own":
            data = data.assign_coords(t=draw(arrays(size, odd=False)))
        elif labels == "alike":
            data = data.assign_coords(t=np.arange(size) / 10)
        found.append(Part(f"run-{n}", {"k": k, "z": z}, {"main": data}, {"seconds": 1.0}))
    return found


@many(INPUTS["joins"])
@given(parts=runs())
def test_joins(parts):
    """Every value of every run is at its labels, of its kind and unchanged; other names are in the notes."""
    with only(BadRequest):
        data, notes = join(parts)
        for part in parts:
            here = data.sel({n: v for n, v in part.values.items() if n in data.dims})
            own = part.files["main"]
            for name in own.data_vars:
                taken = name in data.dims or name == "seconds"
                assert not taken or any(note.startswith(f"{name} is called main:{name}") for note in notes)
                full = f"main:{name}" if taken else name
                there = [here[n] for n in (full, *(f"{full}:{k}" for k in ("words", "booleans", "times"))) if n in here]
                for i, value in enumerate(own[name].values):
                    found = [x.values[place(data, own, i)] for x in there]
                    assert any(alike(value, x) for x in found), (name, value, found, notes)


def place(data, own, i) -> int:
    """Of the i-th label of a run in the whole: its position where there are none or where they are alike everywhere,
    else that of the nearest one, which must be near."""
    if "t" not in own.coords or same(own["t"].values, data["t"].values):
        return i
    label, labels = own["t"].values[i], data["t"].values
    equal = np.flatnonzero(labels == label)
    if len(equal) == 1:
        return int(equal[0])
    near = int(np.abs(labels - label).argmin())
    assert math.isclose(labels[near], label, rel_tol=1e-6, abs_tol=1e-9)
    return near


def alike(a, b) -> bool:
    if isinstance(a, str | np.datetime64) or isinstance(b, str | np.datetime64):
        return type(a) is type(b) and (a == b or a != a)
    return int(a) == int(b) if isinstance(a, np.integer) and b == b else a == b or (a != a and b != b)


PLAIN = st.recursive(
    MIXED | st.binary(max_size=3) | st.integers(0, 10**400) | st.integers(0, 3).flatmap(arrays),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=6,
)


@many(INPUTS["json"])
@given(value=PLAIN)
def test_json(value):
    """What is taken comes back from JSON that any reader takes; what is not finite, masked or a time is refused."""
    with only(ValueError):
        found = plain(value)
        assert json.loads(json.dumps(found, allow_nan=False)) == found
