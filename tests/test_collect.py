"""One dataset of many runs: every number, name and label is that of a run, or it is said."""

import json

import numpy as np
import pytest
import xarray as xr

from hierlib.book.page.results import plain, save
from hierlib.book.runs import collect as collecting
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.join import Part, join
from hierlib.book.runs.params import Parameter


def parts(*datasets: xr.Dataset, **own) -> list[Part]:
    """Runs of k = 0, 1, … with one file each."""
    return [Part(f"run-{k}", {"k": k, "z": 0.5}, {"main": data}, dict(own)) for k, data in enumerate(datasets)]


def joined(*datasets: xr.Dataset) -> tuple[xr.Dataset, str]:
    data, notes = join(parts(*datasets))
    return data, "\n".join(notes)


def x(values, *dims, attrs=None, **coords) -> xr.Dataset:
    return xr.Dataset({"x": (dims, values, attrs)}, coords)


# --- types ----------------------------------------------------------------------------------------------------------

BIG = 2**53 + 1


@pytest.mark.parametrize(
    "values, dtype",
    [
        ([1, 2.5], "f8"),
        ([np.uint8(7), np.int64(-(2**40))], "i8"),
        ([np.int8(-1), np.uint16(65535)], "i4"),
        ([np.float32(0.1), 0.1], "f8"),
        ([np.float32(0.1), np.uint8(3)], "f4"),
        ([np.uint64(2**64 - 1), np.uint64(0)], "u8"),
        ([BIG, -BIG], "i8"),
        ([True, False], "?"),
    ],
)
@pytest.mark.parametrize("turn", [1, -1])
def test_a_type_holds_the_numbers_of_all_runs_whichever_comes_first(values, dtype, turn):
    data, _ = joined(*map(x, values[::turn]))
    assert data["x"].dtype == dtype and data["x"].values.tolist() == [v.item() if hasattr(v, "item") else v
                                                                      for v in values[::turn]]  # fmt: skip


@pytest.mark.parametrize("values", [[BIG, 0.5], [np.uint64(2**64 - 1), -1]])
def test_whole_numbers_that_no_common_type_holds_are_refused(values):
    for turn in (1, -1):
        with pytest.raises(BadRequest, match=r"x: \d+ does not fit in float64 without a change"):
            joined(*map(x, values[::turn]))


def test_a_missing_point_makes_no_whole_number_another():
    (one, two), three = parts(x([1, 2], "i"), x([3, 4], "i")), x([1, BIG], "i")
    data, notes = join([one, Part("run-2", {"k": 2, "z": 1.5}, two.files)])
    assert np.isnan(data["x"].sel(k=0, z=1.5)).all() and data["x"].sel(k=0, z=0.5).values.tolist() == [1, 2]
    assert notes == ["where a point is missing or shorter, it is nan, and the numbers there are floats: x"]
    with pytest.raises(BadRequest, match=r"x, of which some points are missing,: 9007199254740993 does not fit"):
        join([one, Part("run-2", {"k": 2, "z": 1.5}, {"main": three})])


def test_words_and_numbers_of_one_name_become_two_variables():
    data, notes = joined(x(0.25), x("never"), x(True))
    assert data["x"].values[0] == 0.25 and np.isnan(data["x"].values[1:]).all()
    assert data["x:words"].values.tolist() == ["", "never", ""]
    assert data["x:booleans"].values[2] == 1 and "x holds numbers in some runs and words in others" in notes
    assert "empty: x:words" in notes, "a point that is missing could be taken for an empty word"


def test_nothing_saved_is_no_other_kind():
    data, _ = joined(x(np.zeros(0), "i"), x(np.array(["a", "b"], object), "i"))
    assert data["x"].values.tolist() == [["", ""], ["a", "b"]]


def test_axes_in_another_order_are_the_same_axes():
    values = np.arange(6.0).reshape(2, 3)
    data, _ = joined(x(values, "i", "j"), x(values.T, "j", "i"))
    assert (data["x"].values == values).all()
    with pytest.raises(BadRequest, match=r"x has the dimensions \('i',\) in run-0 and \('j',\) in run-1"):
        joined(x([1], "i"), x([1], "j"))


# --- labels ---------------------------------------------------------------------------------------------------------


def test_labels_that_differ_by_rounding_are_one_and_it_is_said():
    steps = np.arange(21) / 10
    summed = np.cumsum([0.0] + [0.1] * 20)
    data, notes = joined(x(steps, "t", t=steps), x(summed, "t", t=summed))
    assert data.sizes["t"] == 21 and data["x"].notnull().all()
    assert data["t"].values.tolist() == [round(0.1 * i, 1) for i in range(21)], "the shorter ones"
    assert "labels differ between runs by rounding only, and are taken as one: " in notes
    assert "0.3 and 0.30000000000000004" in notes


def test_labels_about_zero_and_of_half_the_digits_are_one():
    grid = np.arange(-5, 6) / 10
    off = np.arange(-0.5, 0.55, 0.1)
    assert off[5] != 0 and abs(off[5]) < 1e-15
    data, _ = joined(*(x(each, "t", t=each) for each in (grid, off, grid.astype("f4"))))
    assert data["t"].values.tolist() == grid.tolist() and data["x"].notnull().all()


def test_labels_that_are_two_stay_two():
    fine = [1.0, 1 + 2**-40, 2.0]
    data, notes = joined(x([1, 2, 3], "t", t=fine), x([4, 5], "t", t=[1.0, 3.0]))
    assert data["t"].values.tolist() == [*fine, 3.0] and "rounding" not in notes
    small = [1e-30, 1e-20, 1.0, np.inf]
    data, notes = joined(x([1, 2, 3, 4], "t", t=small), x([4, 5], "t", t=[2e-30, np.inf]))
    assert data["t"].values.tolist() == [1e-30, 2e-30, *small[1:]] and "rounding" not in notes
    data, notes = joined(x([1], "t", t=[2**60]), x([2], "t", t=[2**60 + 1]))
    assert data["t"].values.tolist() == [2**60, 2**60 + 1]


def test_labels_keep_their_type_their_order_and_what_they_say():
    down = xr.Variable("t", [2.0, 1.0], {"units": "K"})
    assert joined(*[x([1, 2], "t", t=down)] * 2)[0]["t"].identical(x([1, 2], "t", t=down)["t"])
    days = np.array(["2024-01-02", "2024-01-01"], "M8[ns]")
    data, _ = joined(x([1, 2], "t", t=days), x([3], "t", t=days[:1]))
    assert data["t"].dtype.kind == "M" and data["x"].sel(k=1, t=days[0]) == 3
    data, _ = joined(x([1, 2], "t", t=["late", "early"]), x([3], "t", t=["new"]))
    assert data["t"].values.tolist() == ["late", "early", "new"]
    assert "t" not in joined(x([1, 2], "t"), x([3], "t"))[0].coords, "where there are none, none are made up"
    twice = x([1, 2], "t", t=[np.nan, np.nan])
    assert joined(twice, twice)[0]["x"].values.tolist() == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    "one, two, why",
    [
        (x([1, 2], "t", t=[0, 0]), x([1], "t", t=[0]), "t: labels of run-0 stand twice"),
        (x([1], "t", t=[np.nan]), x([1], "t", t=[0.0]), "t: labels of run-0 stand twice or are missing"),
        (x([1], "t", t=["a"]), x([1], "t", t=[0]), "t is labelled by words in run-0 and numbers in run-1"),
        (x([1], "t", t=[True]), x([1], "t", t=[0]), "t is labelled by booleans in run-0 and numbers in run-1"),
        (x([1], "t", t=[0]), x([1], "t"), "t has labels in run-0 and none in run-1"),
        (x([1], "t", t=[BIG]), x([1], "t", t=[0.5]), "the labels of t: 9007199254740993 does not fit"),
        (x([1], "k"), x([1], "k"), "a dimension 'k' and a parameter"),
        (x(1, attrs={"units": "nats"}), x(1, attrs={"units": "bits"}), "x has the units 'nats', 'bits'"),
        (x(1, attrs={"units": "nats"}), x(1), "x has the units 'nats', None"),
    ],
)
def test_what_cannot_be_lined_up_is_refused(one, two, why):
    with pytest.raises(BadRequest, match=why):
        joined(one, two)


def test_nearly_equal_parameters_are_named():
    runs = [Part(f"run-{z}", {"z": z}, {"main": x(z)}) for z in (0.3, 0.1 + 0.2)]
    data, notes = join(runs)
    assert data["x"].values.tolist() == [0.3, 0.1 + 0.2]
    assert notes == ["z: 0.3 and 0.30000000000000004 are nearly equal; each is a label"]
    assert Parameter("z", "float", 1.0, "").parse("-0.0").hex() == "0x0.0p+0", "one zero, one run"


# --- names ----------------------------------------------------------------------------------------------------------


def test_names_that_are_taken_bear_their_files_and_it_is_said():
    runs = [xr.Dataset({"k": 10 * k, "seconds": 0.5, "x": ("i", [k])}) for k in (1, 2)]
    data, notes = join(parts(*runs, seconds=3.0))
    assert data["main:k"].values.tolist() == [10, 20] and data["k"].values.tolist() == [0, 1]
    assert data["main:seconds"].values.tolist() == [0.5] * 2 and data["seconds"].values.tolist() == [3.0] * 2
    assert notes == [f"{n} is called main:{n}, as there is another {n}" for n in ("k", "seconds")]


def test_a_swept_parameter_called_seconds():
    runs = [Part(f"run-{s}", {"seconds": s}, {}, {"seconds": 9.0}) for s in (1, 2)]
    data, notes = join(runs)
    assert data["run:seconds"].values.tolist() == [9.0, 9.0] and data["seconds"].values.tolist() == [1, 2]
    assert notes == ["the run's seconds is called run:seconds, as there is another seconds"]


def test_coordinates_that_are_no_dimension_stay_coordinates():
    runs = [x([k, 2], "i", i=[0, 1]).assign_coords(noise=("i", [0.5, k]), of=f"word {k}") for k in (1.0, 2.0)]
    data, _ = joined(*runs)
    assert set(data.coords) == {"k", "i", "noise", "of"}
    assert data["noise"].values.tolist() == [[0.5, 1], [0.5, 2]] and data["of"].values.tolist() == [
        "word 1.0",
        "word 2.0",
    ]


def test_several_files_keep_apart_what_has_one_name():
    runs = [Part(f"run-{k}", {"k": k}, {"up": x(k), **({"down": x(-k)} if k else {})}) for k in (0, 1)]
    data, notes = join(runs)
    assert data["up:x"].values.tolist() == [0, 1] and data["down:x"].values[1] == -1
    assert "the runs have several files, and names bear that of their file before them" in notes


def test_attributes_are_those_of_all():
    data, notes = joined(*(x(1, attrs={"units": "nats", "of": of}).assign_attrs(runs=7, by="me") for of in "ab"))
    assert (
        data["x"].attrs == {"units": "nats"} and "x: the attributes of differ between runs, and are left out" in notes
    )
    assert data.attrs["main:runs"] == 7 and data.attrs["by"] == "me"


@pytest.mark.parametrize("names", [("main:k", "k"), ("x", "x:words")])
def test_a_name_that_would_be_two_things_is_refused(names):
    runs = [xr.Dataset({names[0]: k, names[1]: "a" if k else 1}) for k in (0, 1)]
    with pytest.raises(BadRequest, match="another name"):
        joined(*(run if "x" not in names else xr.Dataset({"x": 1 if k else "a", "x:words": k})
                 for k, run in enumerate(runs)))  # fmt: skip


# --- from folders ---------------------------------------------------------------------------------------------------

MIXED = '''
import numpy as np
import xarray as xr

MIXED = """\\
a: int = 0  # a label
"""


def mixed(*, a):
    return xr.Dataset({"a": 2.5 * a, "seconds": a, "x": a if a else "none"}, {"at": 0.125 * a})
'''


def test_the_command_says_what_differs(root, call):
    (root / "book" / "quantities.py").write_text(MIXED)
    assert call("sweep", "mixed", "-p", "a", "0:3", "--out", "out")[0] == 0
    code, out = call("collect", "out", "--out", "all.nc")
    assert code == 0 and "note: a is called mixed:a, as there is another a" in out
    assert "note: x holds numbers in some runs and words in others; these are called x:words" in out
    data = xr.load_dataset(root / "all.nc")
    assert data["mixed:a"].values.tolist() == [0, 2.5, 5] and data["mixed:seconds"].values.tolist() == [0, 1, 2]
    assert data["x"].values.tolist()[1:] == [1, 2] and data["x:words"].values.tolist() == ["none", "", ""]
    assert data["at"].values.tolist() == [0, 0.125, 0.25] and "at" in data.coords and (data["seconds"] >= 0).all()


def run(folder, name, started, values, answers=(), **more):
    """A run's folder by hand."""
    path = folder / name
    path.mkdir(parents=True)
    rows = [{"value": v, "interval": i, "id": f"answer-{n}", "parameters": values} for n, (v, i) in enumerate(answers)]
    (path / "records.json").write_text(json.dumps(rows))
    facts = {"chapter": "some", "parameters": values, "key": name, "code": "c", "commit": "", "versions": {}}
    facts |= {"started": started, "seconds": 1, "files": collecting.checksums(path), **more}
    (path / "run.json").write_text(json.dumps(facts))


def test_answers_of_every_kind(tmp_path):
    answers = [(2**60 + 1, None), (True, None), ("always", None), ([1, 2], None), (0.5, [0.25, 0.75])]
    run(tmp_path, "some-1", 1, {"k": 1}, answers)
    found = collecting.collect(tmp_path)
    assert [found.data[f"claim:answer-{n}"].item() for n in (0, 1, 2, 4)] == [2**60 + 1, True, "always", 0.5]
    assert [found.data[f"claim:answer-4:{end}"].item() for end in ("low", "high")] == [0.25, 0.75]
    assert found.notes == ["not in the dataset, but in the runs' folders: claim:answer-3"]


def test_of_two_runs_of_one_point_the_newer_counts_and_the_other_is_named(tmp_path):
    run(tmp_path, "some-a", 2, {"k": 1}, [(5, None)])
    run(tmp_path, "some-b", 1, {"k": 1}, [(4, None)])
    run(tmp_path, "some-c", 3, {"k": 2}, [(6, None)])
    run(tmp_path, "copy of some-c", 3, {"k": 2}, [(6, None)], key="some-c")
    found = collecting.collect(tmp_path)
    assert found.data["claim:answer-0"].values.tolist() == [5, 6] and found.runs == 2
    assert any(
        "some-b is left out: an older run, of other files, of the point that is in some-a" in n for n in found.notes
    )
    assert any("is left out: a copy of the point" in n for n in found.notes)


def test_a_dataset_that_netcdf_cannot_hold_is_no_fault_of_the_folder(tmp_path):
    with pytest.raises(BadRequest, match=r"^the dataset cannot be written: x: expected"):
        collecting.write(x(1j), tmp_path / "all.nc")
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match="name a file in a folder that can"):
        collecting.write(x(1), tmp_path / "file" / "all.nc")
    collecting.write(x(1), tmp_path / "new" / "all.nc")


# --- what a run saves -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [np.datetime64("2024-01-01", "ns"), np.array([1], "m8[ns]"), 1j, np.array([1j]), {1: "a", "1": "b"},
     np.ma.masked_equal([1, 2], 2), {"x": float("nan")}, np.array([(1, 2.0)], "i4, f8"), b"a", object()],
)  # fmt: skip
def test_json_holds_no_other_value_than_was_given(value):
    with pytest.raises(ValueError, match="expected"):
        plain(value)


def test_json_holds_whole_numbers_of_any_size():
    assert plain({"n": 10**400, "u": np.uint64(2**64 - 1), 3: [np.float32(0.1)]}) == {
        "n": 10**400, "u": 2**64 - 1, "3": [float(np.float32(0.1))]
    }  # fmt: skip


def test_what_made_the_data_replaces_nothing_of_theirs(tmp_path, monkeypatch):
    (tmp_path / "run.json").write_text('{"chapter": "x", "parameters": {}}')
    monkeypatch.setenv("HIERLIB_RUN_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="fig: the attribute 'seed' says what made the data"):
        save("fig", x(1).assign_attrs(seed=5))
    with pytest.raises(ValueError, match=r"fig: x: expected .* got complex128"):
        save("fig", x(1j))
    assert not list((tmp_path / "data").iterdir())
    assert save("fig", x(1).assign_attrs(seeds=5)) == tmp_path / "data" / "fig.nc"
