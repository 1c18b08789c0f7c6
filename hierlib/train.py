"""Trains again what the book's chapters load from book/_models: `python -m hierlib.train --help`.

A run that was killed goes on from its last pass; a file that is there already is left alone.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from hierlib._locks import hdf5_needs_none
from hierlib._provenance import commit, versions
from hierlib._storage import write_dataset
from hierlib.networks.classifier import Classifier, Training, train_classifier
from hierlib.networks.denoiser import DenoiserTraining
from hierlib.networks.generation import process as process_of
from hierlib.networks.layers import figure8
from hierlib.networks.learning import study
from hierlib.text.commands import app as text_app

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Trains the networks of the book, and measures what its chapters load.",
)
app.add_typer(text_app, name="text")
PAPER = dict(v=16, m=4, s=2, L=7)  # of section 5's network, figure 8

FIGURE8_EPS = (
    *(0.05, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.675, 0.7, 0.725, 0.75, 0.775, 0.8, 0.825, 0.85),
    *(0.875, 0.9, 0.925, 0.95, 0.975, 1.0),
)

Threads = Annotated[int, typer.Option(min=1, help="Of the processor; the committed weights were made with 1.")]


@app.callback()
def _commands() -> None:
    """What all commands need."""
    hdf5_needs_none()


@app.command()
def classifiers(
    out: Annotated[Path, typer.Option(help="Folder of the weights; they are named cnn-GRAMMAR-SEED.safetensors.")],
    grammars: Annotated[int, typer.Option(min=1, help="How many grammars.")] = 3,
    seeds: Annotated[int, typer.Option(min=1, help="How many networks for each.")] = 3,
    num_data: Annotated[int, typer.Option(min=1, help="Size of each training set.")] = Training.num_data,
    width: Annotated[int, typer.Option(min=1, help="Channels of every layer.")] = Training.width,
    max_epochs: Annotated[int, typer.Option(min=1, help="Passes after which it gives up.")] = Training.max_epochs,
    threads: Threads = 1,
) -> None:
    """Train classifiers of the grammar v=16 m=4 s=2 L=7 until they fit their training set (figure 8)."""
    torch.set_num_threads(threads)
    todo = {}
    try:
        for seed in range(seeds):
            for grammar in range(grammars):
                training = Training(
                    num_data=num_data,
                    width=width,
                    max_epochs=max_epochs,
                    grammar_seed=grammar,
                    data_seed=100 + grammar,
                    seed=1000 * grammar + seed,
                )
                path = out / f"cnn-{grammar}-{seed}.safetensors"
                if not finished(path, training):
                    todo[path] = training
    except ValueError as error:
        refuse(error)
    late = [path.stem for path, training in todo.items() if not _train(path, training)]
    if late:
        raise typer.Exit(1)


@app.command("figure8")
def figure8_(
    models: Annotated[Path, typer.Option(help="Folder of the weights, as `classifiers` writes them.")],
    out: Annotated[Path, typer.Option(help="The netCDF file to write.")],
    data: Annotated[int, typer.Option(min=2, help="Data for each grammar.")] = 1000,
    rows: Annotated[int, typer.Option(min=1, help="Subtrees to which each linear probe is fitted.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of data and noise.")] = 0,
    threads: Threads = 1,
) -> None:
    """Let every layer of all networks look at U-turns, before and after training (figure 8); in single precision."""
    torch.set_num_threads(threads)
    if out.exists():
        return say(f"{out.name}  is there")
    try:
        nets = [Classifier.load(path) for path in sorted(models.glob("cnn-*.safetensors"))]
        if not nets:
            raise ValueError(f"{models}: expected files cnn-*.safetensors, found none")
    except ValueError as error:
        refuse(error)
    with Console().status(f"{len(nets)} networks"):
        found = figure8(nets, FIGURE8_EPS, n=data, seed=seed, rows=rows, probe_eps=(0.6, 0.85), report=say)
    command = f"python -m hierlib.train figure8 --models {models} --out {out} --data {data} --rows {rows} --seed {seed}"
    made = dict(command=command, versions=json.dumps(versions()), commit=commit(Path.cwd()))
    write_dataset(out, found.assign_attrs(made), dtype="float32")
    say(f"{out.name}  {len(nets)} networks, {len(FIGURE8_EPS)} noises, {data} data for each grammar")


# What `denoisers` trains where an option is not given: what the book shows, or larger, for a GPU.
_QUICK = DenoiserTraining()
PROFILES = {
    "quick": dict(
        levels=_QUICK.L,
        num_data="8,16,32,64,128,256,512,1024,4096",
        keep="128,4096",
        steps=_QUICK.steps,
        width=_QUICK.width,
    ),
    "full": dict(levels=5, num_data="64,256,1024,4096,16384,65536", keep="1024,65536", steps=20_000, width=256),
}


@app.command()
def denoisers(
    out: Annotated[Path, typer.Option(help="Folder of results (v8-m3-s2-L3.nc) and weights.")],
    profile: Annotated[str, typer.Option(help="quick, the book's sizes, or full, larger ones for a GPU.")] = "quick",
    m: Annotated[int, typer.Option(min=1, help="Rules per symbol.")] = DenoiserTraining.m,
    levels: Annotated[int | None, typer.Option(min=1, help="Depth L of the tree.")] = None,
    v: Annotated[int, typer.Option(min=2, help="Alphabet size.")] = DenoiserTraining.v,
    s: Annotated[int, typer.Option(min=2, help="Children per node.")] = DenoiserTraining.s,
    process: Annotated[str, typer.Option(help="mask, gaussian, or both.")] = "both",
    num_data: Annotated[str | None, typer.Option(help="Sizes P of the training sets.")] = None,
    keep: Annotated[str | None, typer.Option(help="Those of which seed 0's weights are kept.")] = None,
    seeds: Annotated[str, typer.Option(help="Of the grammars, each with its data and weights.")] = "0,1",
    steps: Annotated[int | None, typer.Option(min=1, help="Of the optimiser.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Channels of every layer.")] = None,
    threads: Threads = 1,
) -> None:
    """Train denoisers, masked and Gaussian, on P data each and measure what they know (learning by denoising).

    Several commands, of different seeds or processes, can fill one file side by side. An option that is given goes
    before what the profile says.
    """
    torch.set_num_threads(threads)
    if profile not in PROFILES:
        refuse(ValueError(f"profile: expected one of {', '.join(PROFILES)}, got {profile!r}"))
    given = dict(levels=levels, num_data=num_data, keep=keep, steps=steps, width=width)
    chosen = PROFILES[profile] | {k: x for k, x in given.items() if x is not None}
    levels, num_data, keep, steps, width = (chosen[k] for k in given)
    try:
        amounts, kept, drawn = ([int(part) for part in text.split(",") if part] for text in (num_data, keep, seeds))
        size = dict(v=v, m=m, s=s, L=levels, steps=steps, width=width)
        todo = [
            DenoiserTraining(**size, process=one, num_data=amount, seed=seed)
            for seed in drawn
            for amount in amounts
            for one in (("mask", "gaussian") if process == "both" else (process,))
        ]
        for training in todo[:1]:
            process_of(training.process, training.grammar().v)
    except ValueError as error:
        refuse(error)
    name = f"v{v}-m{m}-s{s}-L{levels}"

    def weights(training: DenoiserTraining) -> Path | None:
        wanted = training.seed == 0 and training.num_data in kept
        return out / f"{name}-{training.process}-{training.num_data}.safetensors" if wanted else None

    command = (
        f"python -m hierlib.train denoisers --out {out} --m {m} --levels {levels} --v {v} --s {s} "
        f"--num-data {num_data} --keep {keep} --steps {steps} --width {width} --threads {threads}"
    )
    facts = dict(command=command, versions=versions(), commit=commit(Path.cwd()))
    for training in todo:
        label = f"{name} {training.process} P={training.num_data} seed={training.seed}"
        path = out / f"{name}.nc"
        try:
            with bar(label) as tell:
                new = study(path, [training], facts=facts, keep=weights, report=lambda _, tell=tell: tell)
        except ValueError as error:
            refuse(error)
        if new:
            say(label)


def finished(path: Path, training: Training) -> bool:
    """Whether a classifier of this training is there.

    Raises:
        ValueError: the file is another one.
    """
    if not path.exists():
        return False
    found = Classifier.load(path).training
    if found != training:
        raise ValueError(
            f"{path}: expected weights of {training}, got those of {found}: move them or choose another --out"
        )
    say(f"{path.name}  is there")
    return True


def _train(path: Path, training: Training) -> bool:
    checkpoint = path.with_suffix(".part")  # which git ignores
    with bar(path.stem) as tell:
        try:
            done = train_classifier(**PAPER, training=training, checkpoint=checkpoint, report=tell)
        except ValueError as error:
            refuse(error)
    last = done.history[-1]
    text = f"{path.name}  {len(done.history)} passes  train {last['train']:.4f}  test {last['test']:.4f}"
    if last["train"] < training.interpolation:
        say(f"{text}  does not fit its data yet and is not kept")
        return False
    done.save(path, torch.float16)
    checkpoint.unlink(missing_ok=True)
    say(text)
    return True


def say(text: str) -> None:
    """One line for each thing that is done."""
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


def refuse(error: Exception) -> NoReturn:
    """End with code 2 and what is wrong."""
    typer.echo(f"hierlib.train: {error}", err=True)
    raise typer.Exit(2)


@contextmanager
def bar(name: str):
    """A progress bar that `report` of a training moves: it takes a dict of epoch, fraction, loss, train, test.

    Ctrl-C ends the command with code 130; what its last pass left is kept.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[facts]}"))
    with Progress(*columns, transient=True) as shown:
        task = shown.add_task(name, total=1.0, facts="")

        def tell(now: dict) -> None:
            facts = "  ".join(f"{k} {now[k]:.4f}" for k in ("loss", "train", "test") if k in now)
            shown.update(task, description=f"{name} pass {now['epoch']}", completed=now["fraction"], facts=facts)

        try:
            yield tell
        except KeyboardInterrupt:
            shown.stop()
            say("Interrupted. The same command goes on from the last whole pass.")
            raise typer.Exit(130) from None


if __name__ == "__main__":
    app()
