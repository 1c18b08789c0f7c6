"""Tensors in safetensors files, with facts about them, and datasets in netCDF files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hierlib._files import write_bytes
from hierlib._netcdf import write as write_netcdf

if TYPE_CHECKING:
    import xarray as xr

BYTES = "0 to 255 are values, none is missing; with netCDF4-python call set_auto_mask(False) before reading"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping) -> None:
    """Write tensors, on the CPU and contiguous, and facts, json, into one safetensors file."""
    # not `save_file`: the files of some versions can be read by their owner only
    write_bytes(path, safetensors.torch.save(dict(tensors), metadata={"about": json.dumps(dict(about))}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """What `write_tensors` wrote: tensors by name, and the facts.

    Raises:
        ValueError: there is no such file, or another one.
    """
    path = Path(path)
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing there"
        raise ValueError(f"{path}: expected a safetensors file of this library, got {got}; check the path")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()  # no dict: it can't be iterated itself
            tensors, about = {name: file.get_tensor(name) for name in names}, (file.metadata() or {})["about"]
        about = json.loads(about)
        if not isinstance(about, dict):
            raise KeyError("about")
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: expected a safetensors file of this library, got {error}") from error
    return tensors, about


def write_dataset(path: Path, data: xr.Dataset, *, dtype: str | None = None) -> None:
    """Write a netCDF file, packed, by `hierlib._netcdf.write`; its folder is made if need be.

    Of unsigned bytes all 256 are values, but netCDF4-python takes 255, the format's default mark of what was never
    written, for missing; such variables say so.

    Args:
        path: of the file.
        data: the dataset.
        dtype: of every variable in the file, if it is to be another than now.
    """
    for name in (name for name, values in data.data_vars.items() if values.dtype == "uint8"):
        data = data.assign({name: data[name].assign_attrs(reading=BYTES)})
    write_netcdf(data if dtype is None else data.astype(dtype), Path(path), packed=True)


def recorded_inputs(path: Path) -> dict | None:
    """The attribute `inputs`, json, of a netCDF file; None if it has none.

    Raises:
        ValueError: it is another file.
    """
    import xarray as xr

    try:
        with xr.open_dataset(path, engine="netcdf4") as found:
            return json.loads(found.attrs["inputs"]) if "inputs" in found.attrs else None
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: expected a netCDF file of this library, got another ({error})") from error


def on_cpu(tensors: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Copies as a file takes them: on the CPU, contiguous, and in another type if one is given."""
    return {k: w.detach().to("cpu", dtype).clone(memory_format=torch.contiguous_format) for k, w in tensors.items()}
