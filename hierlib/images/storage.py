"""What a run on images leaves: what each network made of U-turns, and, if asked for, all images; with what made it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hierlib._provenance import plain, same_inputs
from hierlib._storage import read_tensors, write_dataset, write_tensors
from hierlib.images.models import DiffusionModel
from hierlib.images.probe import LayerSimilarity
from hierlib.images.sampler import UTurns


def save_layers(
    path: Path, found: Mapping[int, LayerSimilarity], unrelated: LayerSimilarity, about: Mapping[str, Any]
) -> None:
    """Write what a network made of U-turns: cosine (float32) and class kept, of every image, layer and time.

    Args:
        path: of the safetensors file.
        found: k → `LayerSimilarity`.
        unrelated: the baseline.
        about: what made them, json; its "inputs" are what `same_inputs` compares.
    """
    tensors = {"k": torch.tensor(list(found), device="cpu"), "baseline": unrelated.cosine.float().contiguous()}
    tensors["cosine"] = torch.stack([alike.cosine for alike in found.values()]).float()
    tensors["kept"] = torch.stack([alike.kept for alike in found.values()])
    write_tensors(path, tensors, {**about, "layers": unrelated.layers})


def load_layers(path: Path) -> tuple[dict[int, LayerSimilarity], LayerSimilarity, dict[str, Any]]:
    """Read what `save_layers` wrote: k → `LayerSimilarity`, the baseline of unrelated images, and what made them.

    Raises:
        ValueError: the file is another one.
    """
    tensors, about = read_tensors(path)
    try:
        layers, cosine, kept = about["layers"], tensors["cosine"].double(), tensors["kept"]
        found = {k: LayerSimilarity(layers, c, s) for k, c, s in zip(tensors["k"].tolist(), cosine, kept, strict=True)}
        base = tensors["baseline"].double()
        return found, LayerSimilarity(layers, base, torch.zeros(len(base), dtype=torch.bool, device="cpu")), about
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: expected a file of `hierlib images run`, got {error!r}; run it again") from error


def gathered(batches: Iterable[UTurns]) -> list[UTurns]:
    """One `UTurns` for each inversion time, with all images; they share one `start`."""
    parts: dict[int, list[UTurns]] = {}
    for u in batches:
        parts.setdefault(u.k, []).append(u)
    for some in parts.values():
        some.sort(key=lambda u: u.first)
    if not parts:
        return []
    start = torch.cat([u.start for u in next(iter(parts.values()))])
    return [UTurns(k, 0, start, torch.cat([u.end for u in some])) for k, some in parts.items()]


def save_uturns(path: Path, batches: Iterable[UTurns], about: Mapping[str, Any]) -> None:
    """Write all images of U-turns into one netCDF file, packed: uint8, start (image, …) and end (k, image, …)."""
    import xarray as xr

    turns, axes = gathered(batches), ("image", "channel", "row", "column")
    end = torch.stack([u.end for u in turns])
    columns = {"start": (axes, turns[0].start.numpy()), "end": (("k", *axes), end.numpy())}
    data = xr.Dataset(columns, {"k": [u.k for u in turns]}, {"about": json.dumps(dict(about))})
    write_dataset(path, data)


def load_uturns(path: Path) -> tuple[list[UTurns], dict[str, Any]]:
    """Read what `save_uturns` wrote: one `UTurns` for each k, with all images, and what made them.

    Raises:
        ValueError: the file is missing, damaged or another one.
    """
    import xarray as xr

    try:
        with xr.open_dataset(path, engine="netcdf4") as opened:
            data = opened.load()
        start, end = (torch.from_numpy(data[name].values) for name in ("start", "end"))
        about = json.loads(data.about)
        return [UTurns(int(k), 0, start, y) for k, y in zip(data.k, end, strict=True)], dict(about)
    except (OSError, KeyError, AttributeError, ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: expected a file of `hierlib images run --ends`, got {error!r}") from error


def inputs_of(
    model: DiffusionModel, digest: str, k: Sequence[int], *, steps: int, seed: int, matched: bool, truncate: bool
) -> dict[str, Any]:
    """What decides about U-turns, for `same_inputs`: nothing else changes more than the last bit of them.

    Args:
        model: on its device, in its precision.
        digest: of the images, from their `digest`.
        k, steps, seed, matched, truncate: as for `hierlib.images.sampler.uturns`.
    """
    options = dict(images=digest, k=list(k), steps=steps, seed=seed, matched=matched, truncate=truncate)
    return plain({**model.inputs(), **options})


def stored_uturns(path: Path, inputs: Mapping[str, Any]) -> list[UTurns] | None:
    """The U-turns of a file if it is there and was made of these inputs (`inputs_of`), all of them; else None.

    Raises:
        ValueError: the file is damaged or another one.
    """
    if not Path(path).exists():
        return None
    turns, about = load_uturns(path)
    try:
        same_inputs(Path(path), about.get("inputs"), inputs)
    except ValueError:
        return None
    return turns
