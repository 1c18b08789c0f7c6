"""Figures 2 and 16 from end to end: ``python -m hierlib.images.commands --help``. A killed run goes on where it was.

Images are taken through U-turns and looked at by several networks; what the chapters plot is written into one small
file for each network, and, if asked for, all images into another.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from hierlib.images.adm import load_model
from hierlib.images.classifier import load_classifier
from hierlib.images.data import ImageFiles, LabelledImages, fashion_mnist, image_folder
from hierlib.images.models import DiffusionModel
from hierlib.images.probe import ARCHITECTURES, LayerSimilarity, Probe, baseline, cnn_probe, compare, statistics
from hierlib.images.probe import torchvision_probe as from_torchvision
from hierlib.images.sampler import UTurns, uturns
from hierlib.images.train import versions
from hierlib.networks.classifier import _read, _write


def open_images(folder: Path, model: DiffusionModel, per_class: int, *, seed: int = 0) -> LabelledImages | ImageFiles:
    """Images for a model, the same number of each class: from Fashion-MNIST's files or from a folder of classes.

    Classes alternate, so that the first images are of all classes. Grey and CMYK files are converted, as ADM's own
    reader does. Errors are those of `hierlib.images.data`.
    """
    if list(Path(folder).glob("t10k-images-idx3-ubyte*")):
        found = fashion_mnist("test", folder=folder).choose(per_class, seed)
    else:
        found = image_folder(folder, per_class=per_class, size=model.size, seed=seed, convert=True)
    order = torch.arange(len(found), device="cpu").reshape(-1, per_class).T.flatten()
    if isinstance(found, ImageFiles):
        return replace(found, paths=tuple(found.paths[i] for i in order), labels=found.labels[order])
    return replace(found, images=found.images[order], labels=found.labels[order])


def open_probe(word: str, device) -> Probe:
    """A network from one word: FILE (of a classifier trained here), or NAME=FILE, NAME=download, NAME=random.

    Raises:
        ValueError: it is none of these, or the file is wrong.
    """
    name, _, where = word.partition("=")
    if name in ARCHITECTURES and where:
        given = dict(download=dict(download=True), random=dict(random_seed=0)).get(where, dict(weights=Path(where)))
        probe = from_torchvision(name, **given)
    elif Path(word).suffix == ".safetensors":
        network, about = load_classifier(Path(word))
        probe = cnn_probe(network, Path(word).stem, classes=about.get("classes", ()))
    else:
        raise ValueError(
            f"--probe: expected FILE.safetensors, NAME=FILE, NAME=download or NAME=random with NAME of "
            f"{', '.join(ARCHITECTURES)}, got {word!r}"
        )
    probe.network.to(device)
    return probe


def save_layers(path: Path, found: dict[int, LayerSimilarity], unrelated: LayerSimilarity, about: dict) -> None:
    """Write what a network made of U-turns: cosine (float32) and class kept, of every image, layer and time."""
    tensors = {"k": torch.tensor(list(found), device="cpu"), "baseline": unrelated.cosine.float().contiguous()}
    tensors["cosine"] = torch.stack([alike.cosine for alike in found.values()]).float()
    tensors["kept"] = torch.stack([alike.kept for alike in found.values()])
    _write(path, tensors, about | dict(layers=unrelated.layers))


def load_layers(path: Path) -> tuple[dict[int, LayerSimilarity], LayerSimilarity, dict]:
    """Read what `save_layers` wrote: k → `LayerSimilarity`, the baseline of unrelated images, and what made them.

    Raises:
        ValueError: the file is another one.
    """
    tensors, about = _read(path)
    try:
        layers, cosine, kept = about["layers"], tensors["cosine"].double(), tensors["kept"]
        found = {k: LayerSimilarity(layers, c, s) for k, c, s in zip(tensors["k"].tolist(), cosine, kept, strict=True)}
        base = tensors["baseline"].double()
        return found, LayerSimilarity(layers, base, torch.zeros(len(base), dtype=torch.bool, device="cpu")), about
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: expected a file of hierlib.images.commands, got {error!r}; run it again") from error


def gathered(batches: Iterable[UTurns]) -> list[UTurns]:
    """One `UTurns` for each inversion time, with all images; they share one `start`."""
    parts: dict[int, list[UTurns]] = {}
    for u in batches:
        parts.setdefault(u.k, []).append(u)
    for some in parts.values():
        some.sort(key=lambda u: u.first)
    start = torch.cat([u.start for u in next(iter(parts.values()))]) if parts else None
    return [UTurns(k, 0, start, torch.cat([u.end for u in some])) for k, some in parts.items()]


def save_uturns(path: Path, batches: Iterable[UTurns], about: dict) -> None:
    """Write all images of U-turns into one netCDF file, packed: uint8, start (image, …) and end (k, image, …)."""
    import xarray as xr

    turns, axes = gathered(batches), ("image", "channel", "row", "column")
    end = torch.stack([u.end for u in turns])
    columns = {"start": (axes, turns[0].start.numpy()), "end": (("k", *axes), end.numpy())}
    data = xr.Dataset(columns, {"k": [u.k for u in turns]}, {"about": json.dumps(about)})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    data.to_netcdf(part, engine="netcdf4", encoding={name: dict(zlib=True, complevel=9) for name in columns})
    part.replace(path)


def load_uturns(path: Path) -> tuple[list[UTurns], dict]:
    """Read what `save_uturns` wrote: one `UTurns` for each k, with all images, and what made them.

    Raises:
        ValueError: the file is missing, damaged or another one.
    """
    import xarray as xr

    try:
        with xr.open_dataset(path, engine="netcdf4") as opened:
            data = opened.load()
        start, end = (torch.from_numpy(data[name].values) for name in ("start", "end"))
        return [UTurns(int(k), 0, start, y) for k, y in zip(data.k, end, strict=True)], json.loads(data.about)
    except (OSError, KeyError, AttributeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: expected a file of hierlib.images.commands --ends, got {error!r}") from error


def stored_uturns(path: Path, model: DiffusionModel, images, k: Sequence[int], **settings) -> list[UTurns] | None:
    """The U-turns of a file if it is there and they are those of this model, these images and settings, else None.

    Args:
        path: of a file of `save_uturns`.
        model, images, k: as for `hierlib.images.sampler.uturns`.
        settings: steps, seed and matched, as there.
    """
    if not Path(path).exists():
        return None
    turns, about = load_uturns(path)
    wanted = dict(digest=model.digest, **settings)
    same = all(about.get(key) == value for key, value in wanted.items()) and [u.k for u in turns] == list(k)
    return turns if same and torch.equal(turns[0].start, images[0 : len(images)]) else None


def main(argv: list[str] | None = None) -> int:
    """Entry point; exit code 2 if an input is wrong."""
    options = _parser().parse_args(argv)
    try:
        return _run(options, shlex.join(["python", "-m", "hierlib.images.commands", *(argv or sys.argv[1:])]))
    except ValueError as error:
        print(f"hierlib.images.commands: {error}", file=sys.stderr)
        return 2


def _run(options, command: str) -> int:
    model = load_model(options.model, options.weights, download=options.download, device=options.device)
    probes = {word: open_probe(word, model.device) for word in options.probe}  # before the hours that follow
    images = open_images(options.images, model, options.per_class, seed=options.seed)
    wide = open_images(options.images, model, options.statistics_per_class or options.per_class, seed=options.seed)
    settings = dict(steps=options.steps, seed=options.seed, batch=options.batch, matched=options.matched)
    turns = options.folder / "images"
    about = dict(model=model.name, digest=model.digest) | settings | dict(truncate=options.truncate)
    about |= dict(images=len(images), per_class=options.per_class)
    made = uturns(model, images, options.k, **settings, truncate=options.truncate, folder=turns)
    if options.ends is None:
        for _ in made:
            pass
    else:
        save_uturns(options.ends, made, about | dict(command=command, versions=versions()))
        print(f"wrote {options.ends}", file=sys.stderr)
    for word, probe in probes.items():
        path = options.folder / f"layers-{probe.name.replace(', ', '-').replace(' ', '-')}.safetensors"
        if path.exists():
            print(f"{path} is there already", file=sys.stderr)
            continue
        raw = dict(raw_second_moment=options.raw_second_moment)
        rng = torch.Generator().manual_seed(options.seed)
        moments = statistics(probe, wide, options.batch)
        unrelated = baseline(probe, wide, moments, generator=rng, batch=options.batch, **raw)
        again = uturns(model, images, options.k, **settings, truncate=options.truncate, folder=turns, show=False)
        found = compare(probe, again, moments, jpeg_quality=options.jpeg_quality, **raw)
        of_probe = dict(probe=probe.name, trained=probe.trained, weights=word, of_statistics=len(wide))
        of_probe |= raw | dict(jpeg_quality=options.jpeg_quality)
        save_layers(path, found, unrelated, json.loads(json.dumps(about | of_probe, default=str)))
        print(f"wrote {path}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hierlib.images.commands", description=__doc__)
    add = parser.add_argument
    add("--model", default="small", help="small, adm256 or pipeline")
    add("--weights", type=Path, required=True, help="file or folder of the model")
    add("--download", action="store_true", help="fetch the weights of adm256 (2.2 GB) to --weights if they are missing")
    add("--images", type=Path, required=True, help="one folder of files a class, or Fashion-MNIST's files")
    add("--per-class", type=int, default=10, help="images of each class")
    add("--statistics-per-class", type=int, help="images of each class that activations are standardised over")
    add("--k", type=int, nargs="+", required=True, help="inversion times, in steps")
    add("--steps", type=int, default=250, help="of the respaced process")
    add("--probe", nargs="+", default=[], help="FILE.safetensors, or NAME=FILE, NAME=download, NAME=random")
    add("--ends", type=Path, help="netCDF file for all images; they must fit into memory")
    add("--folder", type=Path, required=True, help="where results go, and where a killed run goes on")
    add("--batch", type=int, default=32)
    add("--seed", type=int, default=0)
    add("--device", help="cuda or cpu")
    add("--matched", action="store_true", help="noise to the index that denoising starts from")
    add("--truncate", action="store_true", help="8 bits by truncation, as in the authors' code")
    add("--raw-second-moment", action="store_true", help="standardise as in the authors' code")
    add("--jpeg-quality", type=int, help="put samples through JPEG, as in the authors' code")
    return parser


if __name__ == "__main__":
    sys.exit(main())
