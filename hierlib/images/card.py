"""The model card of the embedded models, written from what their training recorded."""

from __future__ import annotations

import json
from pathlib import Path

HEAD = """# Small image models

Made by `python -m hierlib.images.train`; this page is written from the json beside each file. They are for the
experiment of this book and for nothing else: the denoiser knows only images of its data set, and the classifiers only
its classes. Weights are float16 safetensors; nothing in them is executed when they are loaded. Core minutes are the
processor's time for one image times the number of images.
"""

IMAGES = """## Test images

`t10k-*.gz`: a class-balanced part of the test images of Fashion-MNIST, chosen and written by
`python -m hierlib.images.train subset`. Copyright 2017 Zalando SE, MIT licence (LICENSE-data).
"""


def model_card(folder: Path) -> str:
    """Markdown about all models and U-turns of a folder: data, licence, command, seed, accuracy or sample quality.

    Raises:
        ValueError: there are none, or a json is damaged.
    """
    folder = Path(folder)
    parts = []
    for path in sorted(folder.glob("*.json")):
        try:
            parts.append(_part(path, json.loads(path.read_text("utf-8"))))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: expected the json of a model, got {error!r}; train it again") from error
    if turns := [_turns(path) for path in sorted(folder.glob("*.nc"))]:
        parts.append("## U-turns\n\n" + "\n".join(turns) + "\n")
    if list(folder.glob("t10k-images-idx3-ubyte*")):
        parts.append(IMAGES)
    if not parts:
        raise ValueError(f"{folder}: expected models with their json files, got none; name their folder")
    return "\n".join([HEAD, *parts])


def _part(path: Path, about: dict) -> str:
    made = about["trained_on"]
    rows = {
        "What": f"{about['kind']}, {path.with_suffix('.safetensors').name}",
        "Data": f"{made['data']}; licence {made['licence_of_data']}; sha256 `{made['sha256_of_data'][:16]}…`",
        "Training": f"{made['examples']:,} images, seed {made['seed']}, on {made['device']}"
        + (f", about {made['core_minutes']:.0f} core minutes" if "core_minutes" in made else ""),
        "Command": f"`{made['command']}`",
        "Versions": ", ".join(f"{name} {version}" for name, version in made["versions"].items()),
        "Weights": f"sha256 `{about['sha256'][:16]}…`; licence of this repository",
    }
    if "test_accuracy" in about:
        rows["Test accuracy"] = f"{about['test_accuracy']:.2%}"
    if "quality" in about:
        q = about["quality"]
        rows["Samples"] = (
            f"FID {q['fid']:.3g} (real images against real ones {q['fid_of_real_images']:.3g}), KID {q['kid']:.3g} "
            f"({q['kid_of_real_images']:.3g}) of {q['samples']} samples, {q['steps']} steps, in the hidden layer of "
            f"{q['classifier']}; grid: {path.with_suffix('.png').name}"
        )
    table = "\n".join(f"| {key} | {text} |" for key, text in rows.items())
    return f"## {about['name']}\n\n| | |\n|---|---|\n{table}\n"


def _turns(path: Path) -> str:
    import xarray as xr

    try:
        with xr.open_dataset(path, engine="netcdf4") as data:
            about, images = json.loads(data.about), data.sizes["image"]
        shipped = [json.loads(file.read_text("utf-8"))["sha256"] for file in path.parent.parent.glob("**/*.json")]
        of = f"model sha256 `{about['digest'][:16]}…`" + ("" if about["digest"] in shipped else ", which is not kept")
        return f"- {path.name}: {images} images, {of}, `{about['command']}`"
    except (OSError, AttributeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: expected a file of hierlib.images.commands --ends, got {error!r}; make it again"
        ) from error
