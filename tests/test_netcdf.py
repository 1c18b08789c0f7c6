"""Datasets in netCDF files: read as they were written, or refused."""

import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr

from hierlib._netcdf import same, write

TIMES = np.array(["2024-02-29T12:00:00.123456789", "NaT"], "M8[ns]")
WORDS = np.array(["Baum", "", "ß"], object)
KEPT = {
    "every byte": np.arange(256, dtype="u1"),
    "truth values": np.array([True, False]),
    "whole numbers": np.array([2**62 + 1, -(2**63), 0]),
    "unsigned": np.array([2**64 - 1, 1], "u8"),
    "half of double": np.array([0.1, np.nan, np.inf, -0.0], "f4"),
    "doubles": np.array([0.1 + 0.2, np.nan, -np.inf, 5e-324]),
    "big-endian": np.array([1.5, 2.5], ">f8"),
    "words": WORDS,
    "numpy's words": np.array(["a", "bcd"]),
    "no words": WORDS[:0],
    "no numbers": np.zeros(0),
    "bytes": np.array([b"ab", b"c"]),
    "times": TIMES,
    "durations": np.array([1, 2], "m8[s]"),
    "one number": np.array(3),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", KEPT)
def test_what_is_read_is_what_was_written(tmp_path, name, packed):
    values = KEPT[name]
    about = {"unit": "seconds", "one": [1.0], "many": [1, 2], "nothing": np.nan}
    data = xr.Dataset({"x": (("i",)[: values.ndim], values, about)}, attrs=about)
    assert write(data, tmp_path / "a.nc", packed=packed) == tmp_path / "a.nc"
    with xr.open_dataset(tmp_path / "a.nc") as read:
        assert same(values, read["x"].values) and read["x"].attrs["unit"] == "seconds"
        assert np.array_equal(np.signbit(read["x"]), np.signbit(values)) if values.dtype.kind == "f" else True
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


def test_white_is_no_missing_value_to_those_who_read_without_xarray(tmp_path):
    images = xr.Dataset({"image": (("row", "column"), np.full((4, 5), 255, "u1"))})
    write(images, tmp_path / "white.nc", packed=True)
    with netCDF4.Dataset(tmp_path / "white.nc") as file:
        assert file["image"][:].mean() == 255 and np.ma.count_masked(file["image"][:]) == 0


def test_what_another_file_was_packed_by_is_not_used_again(tmp_path):
    """Factor, type and fill value of a file that was read cut the numbers that are put in its place."""
    packing = {"dtype": "int8", "scale_factor": 0.1, "_FillValue": -1}
    xr.Dataset({"x": ("i", [0.1, 0.2])}).to_netcdf(tmp_path / "a.nc", encoding={"x": packing})
    data = xr.load_dataset(tmp_path / "a.nc")
    data["x"][:] = [0.123, 99.0]
    write(data, tmp_path / "b.nc")
    assert xr.load_dataset(tmp_path / "b.nc")["x"].values.tolist() == [0.123, 99.0]


@pytest.mark.parametrize(
    "data, why",
    [
        ({"x": ("i", np.array([1, 2.5], object))}, "x: expected words only, or numbers only, got 1 among"),
        ({"x": ("i", np.array(["a", None], object))}, "x: expected words only"),
        ({"x": ("i", np.array([b"a"], object))}, "x: expected words only"),
        ({"x": 2**70}, "x: expected words only, or numbers only, got 1180591620717411303424"),
        ({"x": 1j}, "x: expected .* got complex128; keep real and imaginary parts as two"),
        ({"x": ("i", np.ones(2, "f2"))}, "x: expected .* got float16; convert it to float32 or float64"),
        ({"x": np.longdouble(1)}, "x: expected .*; convert it to float32 or float64"),
        ({"x": ("i", ["a\0b"])}, "x: netCDF would give back other values"),
        ({"x": ("i", [1, 2], {"scale_factor": 2.0})}, r"other values than these \(it has the attributes scale_factor"),
        ({"x": ("i", [0, 2], {"missing_value": 0})}, "other values"),
        ({"x": ("i", [0, 2], {"units": "days since 2000-01-01"})}, "other values"),
        ({"x": ("i", [0, 2], {"coordinates": "i"})}, "change its attribute 'coordinates'"),
        ({"x": ("i", [0, 2], {"who": True})}, "cannot hold it: .*who"),
        ({"x": ("i", [0, 2], {"who": {"a": 1}})}, "cannot hold it"),
        ({"e\u0301": 1}, "netCDF changes the name"),
        ({"a/b": 1}, "cannot hold it"),
        ({"a\n": 1}, "cannot hold it: .*another name"),
        ({3: 1}, "expected a variable's name, got 3"),
        ({"x": ("i", ["\udcff"])}, "cannot hold it"),
    ],
)
def test_what_would_be_read_as_something_else_is_refused(tmp_path, data, why):
    with pytest.raises(ValueError, match=f"(?s){why}"):
        write(xr.Dataset(data), tmp_path / "a.nc")
    assert not list(tmp_path.iterdir())


def test_a_coordinate_whose_name_has_a_space_is_refused(tmp_path):
    with pytest.warns(xr.SerializationWarning), pytest.raises(ValueError, match="'a b': a coordinate would be none"):
        write(xr.Dataset({"x": ("i", [1])}, {"a b": ("i", [2])}), tmp_path / "a.nc")


def test_where_no_file_can_be_the_reason_is_the_folders(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises((FileExistsError, NotADirectoryError), match="file"):
        write(xr.Dataset({"x": 1}), tmp_path / "file" / "a.nc")


def test_tokens_beyond_two_bytes_are_kept():
    """A vocabulary of more than 2**15 words."""
    from hierlib.text.measure import study
    from hierlib.text.uturn import chances

    words, count = torch.tensor([[40_000, 39_999]]), 40_001

    def denoiser(tokens, places):
        return torch.zeros(len(places[0]), count).log_softmax(-1)

    data = study(denoiser, words, 0.5, chances(words, 2, [0]), steps=None, keep=1)
    assert set(data["sample"].values.ravel()) <= {*range(count)} and (data["sample"] >= 0).all()
