"""Datasets in netCDF files: what is read from one is what was written, or it is not written."""

from pathlib import Path

import numpy as np
import xarray as xr
from xarray.backends import NetCDF4DataStore

from hierlib._files import whole

WORDS = "UOT"  # kinds of arrays that hold words: netCDF has one type for all of them
_OF_CONTENT = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, NotImplementedError)  # xarray's


def write(data: xr.Dataset, path: Path, *, packed: bool = False) -> Path:
    """Writes a dataset, whole or not at all, and only if reading gives it back: names, numbers, types, attributes.

    `xarray.open_dataset` gives it back. Types, factors and fill values of a file that the dataset has been read from
    (xarray calls them encoding) are not used: they would be those of other numbers. Bytes have no fill value, or 255,
    white in an image, would count as missing; of wider whole numbers netCDF4-python, used without xarray, still takes
    one for missing (65535 of uint16): `set_auto_mask(False)` reads them all.

    Args:
        packed: compress the arrays.

    Returns:
        The path.

    Raises:
        ValueError: netCDF cannot hold it, or would hold something else; says which variable, and what would do.
        OSError, RuntimeError: the file cannot be written; netCDF4 raises the latter on a full disk.
    """
    path, data = Path(path), data.drop_encoding()
    for name, variable in data.variables.items():
        _check(name, variable)
    data = data.assign({n: x.astype(str) for n, x in data.variables.items() if x.dtype.kind == "O" and not x.size})
    arrays = [name for name, x in data.data_vars.items() if x.dtype.kind not in WORDS] if packed else []
    with whole(path) as part:
        part.touch()  # where this is refused, the reason is the folder's
        _dump(data, part, {name: {"zlib": True, "complevel": 9} for name in arrays})
        if why := _difference_to(data, part):
            raise ValueError(f"{why}; give it another name, type or attribute")
    return path


def _dump(data: xr.Dataset, path: Path, encoding: dict) -> None:
    try:
        store = NetCDF4DataStore.open(str(path), mode="w")
        try:
            store.ds.set_fill_off()  # `_FillValue: None` would leave netCDF's own, which for bytes is 255
            data.dump_to_store(store, encoding=encoding)
        finally:
            store.close()
    except _OF_CONTENT as error:
        raise ValueError(f"netCDF cannot hold it: {error}") from None
    except RuntimeError as error:
        if "NetCDF:" in str(error) and "HDF" not in str(error):  # of names: illegal characters, too long
            raise ValueError(f"netCDF cannot hold it: {error}; give it another name") from None
        raise


def _check(name: object, variable: xr.Variable) -> None:
    if not isinstance(name, str):
        raise ValueError(f"expected a variable's name, got {name!r}; names are words")
    kind, size = variable.dtype.kind, variable.dtype.itemsize
    if kind == "O":
        if bad := [x for x in variable.values.ravel() if not isinstance(x, str)]:
            raise ValueError(
                f"{name}: expected words only, or numbers only, got {bad[0]!r} among Python objects; give it one type"
            )
    elif not (kind in "biuUTSMm" or (kind == "f" and size in (4, 8))):
        advice = {"c": "keep real and imaginary parts as two variables", "f": "convert it to float32 or float64"}
        raise ValueError(
            f"{name}: expected whole numbers, float32, float64, words, truth values or times, got {variable.dtype}; "
            + advice.get(kind, "convert it")
        )


def _difference_to(data: xr.Dataset, path: Path) -> str | None:
    """What is read from the file as something else, in words."""
    try:
        with xr.open_dataset(path, engine="netcdf4") as read:
            return _difference(data, read)
    except _OF_CONTENT as error:
        return f"it could not be read again: {error}"


def _difference(data: xr.Dataset, read: xr.Dataset) -> str | None:
    if lost := set(map(str, data.variables)) ^ set(map(str, read.variables)):
        return f"{', '.join(sorted(lost))}: netCDF changes the name"
    if lost := set(map(str, data.coords)) ^ set(map(str, read.coords)):
        return f"{', '.join(map(repr, sorted(lost)))}: a coordinate would be none when it is read"
    for name, variable in data.variables.items():
        other = read.variables[name]
        if variable.dims != other.dims or not same(variable.values, other.values):
            why = f" (it has the attributes {', '.join(map(str, variable.attrs))})" if variable.attrs else ""
            return f"{name}: netCDF would give back other values than these{why}"
        if bad := _other_attribute(variable.attrs, other.attrs):
            return f"{name}: netCDF would change its attribute {bad!r}"
    bad = _other_attribute(data.attrs, read.attrs)
    return f"netCDF would change the attribute {bad!r}" if bad else None


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays hold the same values of the same type; nan is nan, and words are words."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    if a.dtype.kind in WORDS:
        return b.dtype.kind in WORDS and a.astype(object).tolist() == b.astype(object).tolist()
    if a.dtype.kind in "MmS":  # of times the unit may be another one
        return a.dtype.kind == b.dtype.kind and np.array_equal(a, b, equal_nan=a.dtype.kind != "S")
    return a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=") and np.array_equal(
        a, b, equal_nan=a.dtype.kind == "f"
    )


def _other_attribute(wanted: dict, found: dict) -> str | None:
    """A name that only one has, or that has another value; [1] comes back as 1."""
    for name in {**wanted, **found}:
        if name not in wanted or name not in found:
            return str(name)
        a, b = np.atleast_1d(wanted[name]), np.atleast_1d(found[name])
        if not (np.array_equal(a, b) or (a.dtype.kind == b.dtype.kind == "f" and np.array_equal(a, b, True))):
            return str(name)
    return None
