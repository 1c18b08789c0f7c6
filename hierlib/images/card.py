"""The model card of the embedded models, written from what their training recorded and what their files hold."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hierlib._provenance import sha256_of
from hierlib.images.data import idx_images
from hierlib.images.files import idx_there
from hierlib.images.storage import load_uturns

HEAD = """# Small image models

Made by `hierlib train diffusion`, `classifier` and `pictures`; this page is written from the json beside each file.
They are for the experiment of this book and for nothing else: the denoiser knows only images of its data set, and the
classifiers only its classes. Weights are float16 safetensors; nothing in them is executed when they are loaded. Core
minutes are the processor's time for one image times the number of images.
"""

IMAGES = """## Test images

`t10k-*.gz`: a class-balanced part of the test images of Fashion-MNIST, chosen and written by
`hierlib images subset`. Copyright 2017 Zalando SE, MIT licence (LICENSE-data).
"""

OTHERS = """## Test images

`t10k-*`: {n} images of {classes} classes, {name}; licence unknown.
"""


def model_card(folder: Path) -> str:
    """Markdown about all models and U-turns of a folder: data, licence, command, seed, accuracy or sample quality.

    What is said of a file is what its json says, and the json has to be of this file, by its digest. Other json files,
    and files that start with a dot, are passed over. The model of U-turns is looked for here and in the folder above.

    Raises:
        ValueError: there are none, or a json is damaged or of another file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of models with their json files, got none; check the path")
    described = {path: _about(path) for path in _files(folder, "*.json") if path.with_suffix(".safetensors").exists()}
    if other := [path.name for path in _files(folder, "*.json") if path not in described]:
        print(f"{folder}: passed over, as no weights lie beside them: {', '.join(other)}", file=sys.stderr)
    parts = [_part(path, about, folder) for path, about in described.items()]
    known = {about["sha256"] for about in described.values()} | _digests(folder.resolve().parent)
    if turns := [_turns(path, known) for path in _files(folder, "*.nc")]:
        parts.append("## U-turns\n\n" + "\n".join(turns) + "\n")
    if idx_there(folder / "t10k-images-idx3-ubyte"):
        images = idx_images("test", folder=folder)
        facts = dict(n=len(images), classes=len(images.classes), name=images.name)
        parts.append(IMAGES if images.known == "fashion-mnist" else OTHERS.format(**facts))
    if not parts:
        raise ValueError(f"{folder}: expected models with their json files, got none; name their folder")
    return "\n".join([HEAD, *parts])


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def _digests(folder: Path) -> set[str]:
    """Of the models of a folder that need not be one of models."""
    found = set()
    for path in _files(folder, "*.json"):
        if path.with_suffix(".safetensors").exists():
            with suppress(ValueError):
                found.add(_about(path)["sha256"])
    return found


def _about(path: Path) -> dict[str, Any]:
    """The json beside weights, if it is of these weights."""
    weights = path.with_suffix(".safetensors")
    try:
        about = json.loads(path.read_text("utf-8"))
        digest = about["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected the json of a model, got {error!r}; train it again") from error
    if sha256_of(weights) != digest:
        raise ValueError(f"{path}: expected the json of {weights.name}, got that of other weights; copy both again")
    return about


def _part(path: Path, about: dict[str, Any], folder: Path) -> str:
    try:
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
            rows["Samples"] = _quality(path, about["quality"], folder)
        table = "\n".join(f"| {key} | {text} |" for key, text in rows.items())
        return f"## {about['name']}\n\n| | |\n|---|---|\n{table}\n"
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected the json of a model, got {error!r}; train it again") from error


def _quality(path: Path, q: dict[str, Any], folder: Path) -> str:
    """What was measured of samples, if it was with the classifier, and gave the grid, that are there now."""
    for name, digest in ((q["classifier"], "sha256_of_classifier"), (path.with_suffix(".png").name, "sha256_of_grid")):
        file = folder / name
        if digest in q and file.exists() and sha256_of(file) != q[digest]:
            raise ValueError(
                f"{path}: expected the quality of its samples by this {name}, got that by another file; "
                "measure again with `hierlib images quality`"
            )
    return (
        f"FID {q['fid']:.3g} (real images against real ones {q['fid_of_real_images']:.3g}), KID {q['kid']:.3g} "
        f"({q['kid_of_real_images']:.3g}) of {q['samples']} samples, {q['steps']} steps, in the hidden layer of "
        f"{q['classifier']}; grid: {path.with_suffix('.png').name}"
    )


def _turns(path: Path, known: set[str]) -> str:
    turns, about = load_uturns(path)
    try:
        of = f"model sha256 `{about['digest'][:16]}…`" + ("" if about["digest"] in known else ", which is not kept")
        return f"- {path.name}: {len(turns[0].start)} images, {of}, `{about['command']}`"
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{path}: expected a file of `hierlib images run --ends`, got {error!r}; make it again"
        ) from error
