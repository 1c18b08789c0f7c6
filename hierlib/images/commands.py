"""`hierlib images`: figures 2 and 16 from end to end, and what belongs to the models. A killed run goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from hierlib import _devices, _paths
from hierlib._commands import Seed, group, numbers, spelled
from hierlib._files import write_text
from hierlib._provenance import plain, same_inputs, sha256_of, sha256_of_tensors, versions
from hierlib.images import data as datasets
from hierlib.images.adm import load_model
from hierlib.images.card import model_card
from hierlib.images.classifier import load_classifier
from hierlib.images.data import ImageFiles, LabelledImages
from hierlib.images.download import SHA256, URL, fetch
from hierlib.images.experiment import look_through, open_images, open_probes
from hierlib.images.files import as_jpeg, write_idx
from hierlib.images.models import describe, load_small
from hierlib.images.probe import Probe, baseline, cnn_probe, compare, statistics
from hierlib.images.quality import judge, save_grid
from hierlib.images.sampler import uturns
from hierlib.images.storage import inputs_of, load_layers, load_uturns, save_layers, save_uturns
from hierlib.images.train import Data, Download, Folder, open_data
from hierlib.networks.progress import Progress

app = group("The experiment on images: U-turns, what networks make of them, figures, models and their cards.")


@app.command()
def run(
    ctx: typer.Context,
    weights: Annotated[Path, _paths.option(help="File or folder of the diffusion model.")],
    images: Annotated[Path, _paths.option(help="One folder of files a class, or files in MNIST's format.")],
    k: Annotated[list[str], typer.Option(help="Inversion times, in steps, with commas between.")],
    folder: Annotated[Path, _paths.option(help="Where results go, and where a killed run goes on.")],
    model: Annotated[str, typer.Option(help="small, adm256 or pipeline.")] = "small",
    download: Annotated[bool, typer.Option("--download", help="Fetch adm256 (2.2 GB) if it is not there.")] = False,
    per_class: Annotated[int, typer.Option(min=1, help="Images of each class.")] = 10,
    statistics_per_class: Annotated[
        int | None, typer.Option(min=1, help="Images of each class that activations are standardised over.")
    ] = None,
    steps: Annotated[int, typer.Option(min=2, help="Of the respaced process.")] = 250,
    probe: Annotated[
        list[str] | None,
        typer.Option(help="FILE.safetensors, or NAME=FILE, NAME=download, NAME=random; may be given many times."),
    ] = None,
    ends: Annotated[Path | None, _paths.option(help="netCDF file for all images; they must fit into memory.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at once; changes no more than the last bit.")] = 32,
    seed: Seed = 0,
    device: Annotated[str | None, typer.Option(help="cuda or cpu.")] = None,
    matched: Annotated[bool, typer.Option("--matched", help="Noise to where denoising starts.")] = False,
    truncate: Annotated[bool, typer.Option("--truncate", help="8 bits by truncation, as the authors.")] = False,
    raw_second_moment: Annotated[
        bool, typer.Option("--raw-second-moment", help="Standardise as in the authors' code.")
    ] = False,
    jpeg_quality: Annotated[
        int | None, typer.Option(min=1, max=95, help="Put samples through JPEG, as in the authors' code.")
    ] = None,
) -> None:
    """Take images through U-turns and let networks look at them: one file of layers for each network.

    What is there already is not made again if it is the result of the same inputs, all of them: weights and images by
    their contents, options by their values. A result of other inputs is refused before anything runs.
    """
    times = numbers(k, name="--k")
    if len({*times}) < len(times) or not times:
        raise ValueError(f"--k: expected different inversion times, got {','.join(k)}")
    network = load_model(model, weights, download=download, device=device)
    probes = open_probes(probe or [], network.device)  # before the hours that follow
    chosen = open_images(images, network, per_class, seed=seed)
    wide = open_images(images, network, statistics_per_class or per_class, seed=seed)
    settings: dict[str, Any] = dict(steps=steps, seed=seed, matched=matched, truncate=truncate)
    for each in probes:
        each(chosen[0:1])  # that it takes such images is found out now
    if jpeg_quality is not None:
        as_jpeg(chosen[0:1], jpeg_quality)
    digest = _looked(chosen)
    inputs = inputs_of(network, digest, times, **settings)
    of_probes: dict[str, Any] = dict(statistics=_looked(wide) if statistics_per_class else digest)
    of_probes |= dict(raw_second_moment=raw_second_moment, jpeg_quality=jpeg_quality)
    wanted = {_layers_file(folder, each): {**inputs, **of_probes, **_probe_inputs(each)} for each in probes}
    if len(wanted) < len(probes):
        raise ValueError(f"--probe: expected networks of different names, got {', '.join(p.name for p in probes)}")
    todo = [path for path, its in wanted.items() if not _there(path, its)]
    with_ends = ends is not None and not _there(ends, inputs)
    about: dict[str, Any] = dict(model=network.name, digest=network.digest, **settings, batch=batch)
    about |= dict(images=len(chosen), per_class=per_class, command=spelled(ctx), versions=versions())
    options: dict[str, Any] = dict(**settings, batch=batch, folder=folder / "images")
    made = uturns(network, chosen, times, **options)
    if with_ends and ends is not None:
        save_uturns(ends, made, about | dict(inputs=inputs))
        say(f"wrote {ends}")
    elif todo or not (probes or ends):
        for _ in made:
            pass
    for each, (path, its) in zip(probes, wanted.items()):
        if path in todo:
            raw = dict(raw_second_moment=raw_second_moment)
            moments = statistics(each, wide, batch)
            rng = torch.Generator().manual_seed(seed)
            unrelated = baseline(each, wide, moments, generator=rng, batch=batch, **raw)
            again = uturns(network, chosen, times, **options, show=False)
            found = compare(each, again, moments, jpeg_quality=jpeg_quality, **raw)
            of_probe = dict(probe=each.name, trained=each.trained, of_statistics=len(wide), **raw)
            save_layers(path, found, unrelated, about | of_probe | dict(jpeg_quality=jpeg_quality, inputs=its))
            say(f"wrote {path}")


def _looked(images: LabelledImages | ImageFiles) -> str:
    bar = Progress("looking through", len(images), unit="images")
    return look_through(images, bar.update)


def _layers_file(folder: Path, probe: Probe) -> Path:
    return folder / f"layers-{probe.name.replace(', ', '-').replace(' ', '-')}.safetensors"


def _probe_inputs(probe: Probe) -> dict[str, Any]:
    """A network by its contents, and how images are given to it."""
    sizes = dict(resize=probe.resize, crop=probe.crop, mean=probe.mean, std=probe.std)
    return plain(dict(network=sha256_of_tensors(probe.network.state_dict()), layers=probe.layers, **sizes))


def _there(path: Path, inputs: dict[str, Any]) -> bool:
    """Whether the result of these inputs is at a path.

    Raises:
        ValueError: there is another one.
    """
    if not path.exists():
        return False
    about = load_uturns(path)[1] if path.suffix == ".nc" else load_layers(path)[2]
    same_inputs(path, about.get("inputs"), inputs)
    say(f"{path} is there already")
    return True


def say(text: str) -> None:
    """One line for each thing that is done."""
    print(text, file=sys.stderr)


@app.command("download")
def download_(
    file: Annotated[Path, _paths.argument(help=f"Where {Path(URL).name} goes.")],
    url: Annotated[str, typer.Option(help="A mirror of it.")] = URL,
    any_sha256: Annotated[bool, typer.Option("--any-sha256", help="Do not compare the digest.")] = False,
) -> None:
    """Fetch the weights of ADM (2.2 GB), checked by size and sha256; a download that was interrupted goes on."""
    fetch(file, url=url, sha256=None if any_sha256 else SHA256)


@app.command()
def quality(
    ctx: typer.Context,
    model: Annotated[Path, _paths.option(help="safetensors file of the denoiser.")],
    classifier: Annotated[Path, _paths.option(help="safetensors file of the classifier.")],
    data: Data = "fashion",
    folder: Folder = None,
    download: Download = False,
    samples: Annotated[int, typer.Option(min=2, help="How many to draw.")] = 1024,
    steps: Annotated[int, typer.Option(min=2, help="Of the sampler.")] = 100,
) -> None:
    """Measure the samples of a trained denoiser with a trained classifier; adds numbers to its json, and a grid."""
    network = load_small(model)
    probe = cnn_probe(load_classifier(classifier)[0])
    test = open_data(data, "test", folder, download)
    for part in (network, probe):
        part.network.to(_devices.chosen())
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0), device="cpu")
    images, record = judge(network, probe, test.images[order], n=samples, steps=steps)
    made = dict(classifier=classifier.name, sha256_of_classifier=sha256_of(classifier), sha256_of_data=test.digest())
    save_grid(model.with_suffix(".png"), images[:64], scale=2)
    grid = dict(sha256_of_grid=sha256_of(model.with_suffix(".png")))
    describe(model, {**(network.about or {}), "quality": {**record, **made, **grid, "command": spelled(ctx)}})
    say(f"FID {record['fid']:.3g}, KID {record['kid']:.3g}: in {model.with_suffix('.json').name}")


@app.command()
def subset(
    out: Annotated[Path, _paths.option(help="Folder to write into.")],
    folder: Folder = None,
    download: Download = False,
    per_class: Annotated[int, typer.Option(min=1, help="Images of each class.")] = 100,
) -> None:
    """Write a class-balanced part of the test images of Fashion-MNIST in its own format, to ship with the models."""
    test = datasets.idx_images("test", folder=folder, download=download)
    if test.known != "fashion-mnist":
        raise ValueError(f"{folder}: expected Fashion-MNIST, which is free to pass on, got {test.name}")
    few = test.choose(per_class, seed=0)
    write_idx(out / "t10k-images-idx3-ubyte", few.images[:, 0])
    write_idx(out / "t10k-labels-idx1-ubyte", few.labels.to(torch.uint8))


@app.command()
def card(
    models: Annotated[Path, _paths.argument(help="Folder of safetensors files with their json files.")],
) -> None:
    """Write the model card, README.md, of all models in a folder from their json files."""
    write_text(models / "README.md", model_card(models))
