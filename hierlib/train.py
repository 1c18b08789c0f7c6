"""`hierlib train`: the networks of the book, and what its chapters load from book/_models.

A run that was killed goes on from its last checkpoint. What is there already is left alone if it is the result of the
same inputs, all of them, and refused if it is that of others.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

import torch
import typer

from hierlib import _paths
from hierlib._commands import Every, Minutes, Seed, Threads, group, numbers, spelled
from hierlib._provenance import commit, plain, same_inputs, sha256_of, versions
from hierlib._storage import recorded_inputs, write_dataset
from hierlib.images.train import classifier, diffusion, pictures
from hierlib.networks.classifier import Classifier, Training, train_classifier
from hierlib.networks.denoiser import DenoiserTraining
from hierlib.networks.fit import Report
from hierlib.networks.generation import process as process_of
from hierlib.networks.language_model import LanguageModel, LanguageTraining, train_language_model
from hierlib.networks.layers import figure8
from hierlib.networks.learning import study
from hierlib.networks.progress import Progress
from hierlib.text.commands import app as text_app

app = group("Train the networks of the book, and measure what its chapters load.")
app.add_typer(text_app, name="text")
app.command()(diffusion)
app.command()(classifier)
app.command()(pictures)


class Size(TypedDict):
    """Of a grammar."""

    v: int
    m: int
    s: int
    L: int


PAPER = Size(v=16, m=4, s=2, L=7)  # of section 5's network, figure 8

FIGURE8_EPS = (
    *(0.05, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.675, 0.7, 0.725, 0.75, 0.775, 0.8, 0.825, 0.85),
    *(0.875, 0.9, 0.925, 0.95, 0.975, 1.0),
)
PROBE_EPS = (0.6, 0.85)


@app.command()
def classifiers(
    out: Annotated[Path, _paths.option(help="Folder of the weights; they are named cnn-GRAMMAR-SEED.safetensors.")],
    grammars: Annotated[int, typer.Option(min=1, help="How many grammars.")] = 3,
    seeds: Annotated[int, typer.Option(min=1, help="How many networks for each.")] = 3,
    num_data: Annotated[int, typer.Option(min=1, help="Size of each training set.")] = Training.num_data,
    width: Annotated[int, typer.Option(min=1, help="Channels of every layer.")] = Training.width,
    max_epochs: Annotated[int, typer.Option(min=1, help="Passes after which it gives up.")] = Training.max_epochs,
    minutes: Minutes = math.inf,
    every: Every = 120.0,
    threads: Threads = 1,
) -> None:
    """Train classifiers of the grammar v=16 m=4 s=2 L=7 until they fit their training set (figure 8)."""
    torch.set_num_threads(threads)
    todo = {}
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
            if not _finished(path, training):
                todo[path] = training
    late = [path.stem for path, training in todo.items() if not _train(path, training, minutes, every)]
    if late:
        raise typer.Exit(1)


@app.command("figure8")
def figure8_(
    ctx: typer.Context,
    models: Annotated[Path, _paths.option(help="Folder of the weights, as `classifiers` writes them.")],
    out: Annotated[Path, _paths.option(help="The netCDF file to write.")],
    data: Annotated[int, typer.Option(min=2, help="Data for each grammar.")] = 1000,
    rows: Annotated[int, typer.Option(min=1, help="Subtrees to which each linear probe is fitted.")] = 1000,
    seed: Seed = 0,
    threads: Threads = 1,
) -> None:
    """Let every layer of all networks look at U-turns, before and after training (figure 8); in single precision."""
    torch.set_num_threads(threads)
    files = sorted(models.glob("cnn-*.safetensors"))
    if not files:
        raise ValueError(f"{models}: expected files cnn-*.safetensors, found none")
    weights = {path.name: sha256_of(path) for path in files}
    inputs = plain(dict(weights=weights, data=data, rows=rows, seed=seed, eps=FIGURE8_EPS, probe_eps=PROBE_EPS))
    if out.exists():
        same_inputs(out, recorded_inputs(out), inputs)
        return say(f"{out.name}  is there")
    nets = {path.name: Classifier.load(path) for path in files}
    _different(models, nets)
    found = figure8([*nets.values()], FIGURE8_EPS, n=data, seed=seed, rows=rows, probe_eps=PROBE_EPS, report=say)
    write_dataset(out, found.assign_attrs(_made(ctx, inputs)), dtype="float32")
    say(f"{out.name}  {len(nets)} networks, {len(FIGURE8_EPS)} noises, {data} data for each grammar")


def _different(folder: Path, nets: dict[str, Classifier]) -> None:
    """Every network counts once, and all are of one kind of grammar."""
    first = next(iter(nets.values())).g
    seen: dict[Any, str] = {}
    for name, each in nets.items():
        if (each.g.v, each.g.m, each.g.s, each.g.L) != (first.v, first.m, first.s, first.L):
            raise ValueError(f"{folder / name}: expected a network for {first}, got one for {each.g}; move it away")
        twin = seen.setdefault(each.training, name)
        if twin != name:
            raise ValueError(f"{folder}: expected different networks, got one as {twin} and {name}; remove one")


# What `denoisers` trains where an option is not given: what the book shows, or larger, for a GPU.
_QUICK = DenoiserTraining()


class Profile(NamedTuple):
    """What an option of `denoisers` is where it is not given; see there."""

    levels: int
    num_data: str
    keep: str
    steps: int
    width: int


PROFILES = {
    "quick": Profile(_QUICK.L, "8,16,32,64,128,256,512,1024,4096", "128,4096", _QUICK.steps, _QUICK.width),
    "full": Profile(5, "64,256,1024,4096,16384,65536", "1024,65536", 20_000, 256),
}


@app.command()
def denoisers(
    ctx: typer.Context,
    out: Annotated[Path, _paths.option(help="Folder of results (v8-m3-s2-L3.nc) and weights.")],
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
    minutes: Minutes = math.inf,
    every: Every = 120.0,
    threads: Threads = 1,
) -> None:
    """Train denoisers, masked and Gaussian, on P data each and measure what they know (learning by denoising).

    Several commands, of different seeds or processes, can fill one file side by side. An option that is given goes
    before what the profile says.
    """
    torch.set_num_threads(threads)
    if profile not in PROFILES:
        raise ValueError(f"profile: expected one of {', '.join(PROFILES)}, got {profile!r}")
    usual = PROFILES[profile]
    chosen = Profile(
        levels=usual.levels if levels is None else levels,
        num_data=usual.num_data if num_data is None else num_data,
        keep=usual.keep if keep is None else keep,
        steps=usual.steps if steps is None else steps,
        width=usual.width if width is None else width,
    )
    words = {"num-data": chosen.num_data, "keep": chosen.keep, "seeds": seeds}
    amounts, kept, drawn = (numbers([word], name=f"--{name}") for name, word in words.items())
    size = DenoiserTraining(v=v, m=m, s=s, L=chosen.levels, steps=chosen.steps, width=chosen.width)
    todo = [
        replace(size, process=one, num_data=amount, seed=seed)
        for seed in drawn
        for amount in amounts
        for one in (("mask", "gaussian") if process == "both" else (process,))
    ]
    for training in todo[:1]:
        process_of(training.process, training.grammar().v)
    name = f"v{v}-m{m}-s{s}-L{chosen.levels}"
    ctx.params.update(chosen._asdict())
    facts = dict(command=spelled(ctx), versions=versions(), commit=commit(Path.cwd()))

    def weights(training: DenoiserTraining) -> Path | None:
        wanted = training.seed == 0 and training.num_data in kept
        return out / f"{name}-{training.process}-{training.num_data}.safetensors" if wanted else None

    for training in todo:
        label = f"{name} {training.process} P={training.num_data} seed={training.seed}"
        bar = Progress(label, training.steps, unit="steps")
        new = study(
            out / f"{name}.nc",
            [training],
            facts=facts,
            keep=weights,
            minutes=minutes,
            every=every,
            report=partial(_bar, bar),
        )
        if new is None:
            say(f"{label}  is not finished; the same command goes on")
            raise typer.Exit(3)
        if new:
            say(label)


@app.command("language-models")
def language_models(
    out: Annotated[Path, _paths.option(help="Folder of the weights; they are named lm-SEED.safetensors.")],
    v: Annotated[int, typer.Option(min=2, help="Alphabet size.")] = LanguageTraining.v,
    m: Annotated[int, typer.Option(min=1, help="Rules per symbol.")] = LanguageTraining.m,
    s: Annotated[int, typer.Option(min=2, help="Children per node.")] = LanguageTraining.s,
    levels: Annotated[int, typer.Option(min=1, help="Depth L of the tree.")] = LanguageTraining.L,
    width: Annotated[int, typer.Option(min=1, help="Channels of every layer.")] = LanguageTraining.width,
    heads: Annotated[int, typer.Option(min=1, help="Of the attention.")] = LanguageTraining.heads,
    depth: Annotated[int, typer.Option(min=1, help="Layers.")] = LanguageTraining.depth,
    strings: Annotated[int, typer.Option(min=1, help="Seen in all, each once.")] = LanguageTraining.strings,
    checkpoints: Annotated[int, typer.Option(min=1, help="Of which weights are kept.")] = LanguageTraining.checkpoints,
    batch: Annotated[int, typer.Option(min=1, help="Strings a step.")] = LanguageTraining.batch,
    rate: Annotated[float, typer.Option(min=1e-6, help="Learning rate.")] = LanguageTraining.learning_rate,
    seeds: Annotated[str, typer.Option(help="Of the grammars, each with its strings and weights.")] = "0,1,2",
    minutes: Minutes = math.inf,
    every: Every = 120.0,
    threads: Threads = 1,
) -> None:
    """Train causal transformers to say the next leaf, on strings that are each seen once (two slopes)."""
    torch.set_num_threads(threads)
    size = dict(v=v, m=m, s=s, L=levels, width=width, heads=heads, depth=depth)
    course = dict(strings=strings, checkpoints=checkpoints, batch=batch)
    for seed in numbers([seeds], name="--seeds"):
        training = LanguageTraining(**size, **course, learning_rate=rate, seed=seed)
        path = out / f"lm-{seed}.safetensors"
        if path.exists():
            same_inputs(path, plain(vars(LanguageModel.load(path)[0].training)), vars(training))
            say(f"{path.name}  is there")
            continue
        checkpoint = path.with_suffix(".part")
        report = Progress(path.stem, strings, unit="strings").follow
        done = train_language_model(training, checkpoint=checkpoint, minutes=minutes, every=every, report=report)
        if done is None:
            say(f"{path.name}  is not finished; the same command goes on")
            raise typer.Exit(3)
        done.save(path)
        checkpoint.unlink(missing_ok=True)
        say(f"{path.name}  loss {done.history[-1]['test']:.4f} nats a leaf, exact {done.exact:.4f}")


def _bar(bar: Progress, training: DenoiserTraining) -> Report:
    return bar.follow


def _finished(path: Path, training: Training) -> bool:
    """Whether a classifier of this training, on this grammar, is there.

    Raises:
        ValueError: the file is another one.
    """
    if not path.exists():
        return False
    found = Classifier.load(path)
    of = dict(v=found.g.v, m=found.g.m, s=found.g.s, L=found.g.L)
    same_inputs(path, plain({**of, **vars(found.training)}), {**PAPER, **vars(training)})
    say(f"{path.name}  is there")
    return True


def _train(path: Path, training: Training, minutes: float, every: float) -> bool:
    checkpoint = path.with_suffix(".part")  # which git ignores
    report = Progress(path.stem, training.num_data * training.max_epochs, unit="data at most").follow
    done = train_classifier(
        **PAPER, training=training, checkpoint=checkpoint, minutes=minutes, every=every, report=report
    )
    if done is None:
        say(f"{path.name}  is not finished; the same command goes on")
        raise typer.Exit(3)
    last = done.history[-1]
    text = f"{path.name}  {len(done.history)} passes  train {last['train']:.4f}  test {last['test']:.4f}"
    if last["train"] < training.interpolation:
        say(f"{text}  does not fit its data yet and is not kept")
        return False
    done.save(path, torch.float16)
    checkpoint.unlink(missing_ok=True)
    say(text)
    return True


def _made(ctx: typer.Context, inputs: dict[str, Any]) -> dict[str, str]:
    """What made a dataset, for its attributes."""
    facts = dict(inputs=json.dumps(inputs), versions=json.dumps(versions()))
    return dict(command=spelled(ctx), commit=commit(Path.cwd()), **facts)


def say(text: str) -> None:
    """One line for each thing that is done."""
    typer.echo(text)
