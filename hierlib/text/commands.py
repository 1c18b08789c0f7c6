"""`hierlib train text`: trains the language models of the book and measures their U-turns."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import xarray as xr

from hierlib import _paths
from hierlib._commands import Every, Minutes, Seed, Threads, group, numbers, spelled
from hierlib._provenance import commit, plain, same_inputs, sha256_of, versions
from hierlib._seeds import derived
from hierlib._storage import recorded_inputs, write_dataset
from hierlib.networks.fit import Schedule
from hierlib.networks.progress import Progress
from hierlib.text.bound import train
from hierlib.text.corpus import Corpus
from hierlib.text.measure import study
from hierlib.text.model import Size, TextModel
from hierlib.text.trigram import Trigrams
from hierlib.text.trigram import study as of_trigrams
from hierlib.text.uturn import chances, seeds_of

app = group("Masked diffusion on text: train a model, take its U-turns (the chapter on text).")


@app.command("fit")
def fit_(
    ctx: typer.Context,
    data: Annotated[Path, _paths.option(help="A plain text file, UTF-8; empty lines part its passages.")],
    out: Annotated[Path, _paths.option(help="The safetensors file to write.")],
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Shuffle the words of every line: the control.")] = False,
    length: Annotated[int, typer.Option(min=2, help="Words that the model sees at once.")] = 64,
    vocabulary: Annotated[int, typer.Option(min=4, help="Words that it knows, the most frequent ones.")] = 4096,
    width: Annotated[int, typer.Option(min=1, help="Channels of every layer.")] = Size.width,
    blocks: Annotated[int, typer.Option(min=1, help="Layers of attention.")] = Size.blocks,
    examples: Annotated[int, typer.Option(min=1, help="Windows of text to show in all.")] = 60_000,
    batch: Annotated[int, typer.Option(min=1, help="Windows a step.")] = 32,
    rate: Annotated[float, typer.Option(min=1e-6, help="Learning rate.")] = 2e-3,
    seed: Seed = 0,
    minutes: Minutes = math.inf,
    every: Every = 120.0,
    threads: Threads = 1,
) -> None:
    """Train a masked-diffusion language model on a text file.

    A run that was killed goes on from its checkpoint, OUT with the ending .part. A model that is there is left alone if
    it is that of the same words, size and schedule, and refused if it is another.
    """
    torch.set_num_threads(threads)
    corpus = Corpus.read(data, length=length, vocabulary=vocabulary, shuffle=shuffle, seed=seed)
    size = Size(len(corpus.vocabulary), length, width=width, blocks=blocks)
    schedule = Schedule(examples, batch, rate, ema=0.998, seed=seed)
    if out.exists():
        found = TextModel.load(out)
        same_inputs(out, _trained_on(found), dict(size=asdict(size), schedule=asdict(schedule), words=corpus.sha256))
        return typer.echo(f"{out.name}  is there")
    words = sum(map(len, corpus.train))
    typer.echo(
        f"{out.name}  {len(corpus.train)} passages, {words:,} words; {len(corpus.held_out)} held out; "
        f"{corpus.skipped} too short"
    )
    bar = Progress(out.stem, schedule.steps * batch, unit="windows")
    about = dict(command=spelled(ctx), versions=versions(), commit=commit(Path.cwd()))
    checkpoint = out.with_suffix(".part")
    options: dict[str, Any] = dict(checkpoint=checkpoint, minutes=minutes, every=every, report=bar.follow)
    model = train(corpus, size, schedule, about=about, **options)
    if model is None:
        typer.echo(f"{out.name}  is not finished; the same command goes on")
        raise typer.Exit(3)
    model.save(out)
    checkpoint.unlink(missing_ok=True)
    typer.echo(f"{out.name}  validation loss {model.about['validation']:.3f} nats a word")


def _trained_on(model: TextModel) -> dict[str, Any]:
    """What decides about a model, as it is recorded in its file."""
    facts = dict(size=asdict(model.network.size), words=model.about.get("sha256"))
    return plain({**facts, "schedule": model.about.get("schedule")})


@app.command()
def uturns(
    ctx: typer.Context,
    data: Annotated[Path, _paths.option(help="The text file that the model was trained on.")],
    model: Annotated[Path, _paths.option(help="The safetensors file of the model.")],
    out: Annotated[Path, _paths.option(help="The netCDF file to write.")],
    shuffle: Annotated[bool, typer.Option("--shuffle", help="The model is that of the shuffled text.")] = False,
    windows: Annotated[int, typer.Option(min=2, help="Starts, from the held-out passages.")] = 96,
    samples: Annotated[int, typer.Option(min=2, help="U-turns from each start at each t.")] = 16,
    times: Annotated[str, typer.Option(help="Fractions of erased words.")] = ".1,.2,.3,.4,.5,.6,.7,.8,.9,1",
    steps: Annotated[int, typer.Option(min=1, help="In which the erased words come back, at most.")] = 20,
    keep: Annotated[int, typer.Option(min=0, help="Samples of each start to keep whole.")] = 2,
    seed: Seed = 0,
    threads: Threads = 1,
) -> None:
    """Erase words of held-out text, let the model bring words back, and measure how changes go together.

    What is done for one t is kept beside OUT in a .part file, from which a run that was killed goes on. A result that
    is there is left alone if it is that of the same model, words and options, and refused if it is another.
    """
    torch.set_num_threads(threads)
    fractions = numbers([times], float, name="--times")
    if not fractions or len({*fractions}) < len(fractions) or not all(0 <= t <= 1 for t in fractions):
        raise ValueError(f"--times: expected different numbers between 0 and 1 with commas between them, got {times!r}")
    found = TextModel.load(model)
    size, seed_of = found.network.size, found.about["schedule"]["seed"]
    corpus = Corpus.read(data, length=size.length, vocabulary=size.vocabulary, shuffle=shuffle, seed=seed_of)
    if corpus.sha256 != found.about["sha256"]:
        raise ValueError(
            f"{data}: expected the text of {model.name} (sha256 of its words {found.about['sha256'][:12]}…), got "
            f"another ({corpus.sha256[:12]}…); give the file it was trained on, --shuffle for the control only"
        )
    options = dict(windows=windows, samples=samples, steps=steps, keep=keep, seed=seed)
    inputs = plain(dict(model=sha256_of(model), words=corpus.sha256, **options))
    whole = dict(inputs, times=fractions)
    if out.exists():
        same_inputs(out, recorded_inputs(out), whole)
        return typer.echo(f"{out.name}  is there")
    x0, passage = corpus.windows(windows)
    uniform = chances(x0, samples, seeds_of(seed, range(windows)))
    facts = dict(
        command=spelled(ctx),
        samples=samples,
        steps=steps,
        seed=seed,
        validation=found.about["validation"],
        model_sha256=found.about["sha256"],
        versions=json.dumps(versions()),
        commit=commit(Path.cwd()),
    )
    bar = Progress(out.stem, len(fractions), unit="fractions")
    parts = [out.with_name(f"{out.stem}-{t}.part") for t in fractions]
    for k, (t, part) in enumerate(zip(fractions, parts)):
        of_part = json.dumps(dict(inputs, t=t))
        if part.exists():
            same_inputs(part, recorded_inputs(part), json.loads(of_part))
            bar.skip(1)
            continue
        one = study(found.network, x0, t, uniform, steps=steps, keep=keep)
        write_dataset(part, one.assign_attrs(facts, inputs=of_part))
        bar.update(k + 1, f"t {t:g}")
    opened = [xr.load_dataset(part) for part in parts]
    start = dict(start=(("window", "place"), x0.short().numpy()), passage=("window", passage.numpy()))
    write_dataset(out, xr.concat(opened, "t").assign(start).assign_attrs(facts, inputs=json.dumps(whole)))
    for part in parts:
        part.unlink()
    typer.echo(f"{out.name}  {windows} windows of {size.length} words, {samples} U-turns of each at {len(fractions)} t")


@app.command()
def trigrams(
    ctx: typer.Context,
    data: Annotated[Path, _paths.option(help="The text file whose trigrams are counted.")],
    out: Annotated[Path, _paths.option(help="The netCDF file to write.")],
    length: Annotated[int, typer.Option(min=3, help="Words of a window.")] = 64,
    vocabulary: Annotated[int, typer.Option(min=4, help="Words that are told apart, the most frequent ones.")] = 4096,
    windows: Annotated[int, typer.Option(min=2, help="Starts, drawn from the trigrams.")] = 48,
    samples: Annotated[int, typer.Option(min=2, help="U-turns from each start at each t.")] = 8,
    times: Annotated[str, typer.Option(help="Fractions of erased words.")] = ".1,.2,.3,.4,.5,.6,.7,.8,.9,1",
    seed: Seed = 0,
) -> None:
    """Take exact U-turns of texts drawn from the trigrams of a file: local order without hierarchy, as a control.

    Nothing is trained: the posterior of such a text is known. The trigrams are those of the passages that a model of
    the same file learns from. A result that is there is left alone if it is that of the same words and options, and
    refused if it is another.
    """
    fractions = numbers([times], float, name="--times")
    if not fractions or len({*fractions}) < len(fractions) or not all(0 <= t <= 1 for t in fractions):
        raise ValueError(f"--times: expected different numbers between 0 and 1 with commas between them, got {times!r}")
    corpus = Corpus.read(data, length=length, vocabulary=vocabulary)
    options = dict(length=length, vocabulary=vocabulary, windows=windows, samples=samples, times=fractions, seed=seed)
    inputs = plain(dict(words=corpus.sha256, **options))
    if out.exists():
        same_inputs(out, recorded_inputs(out), inputs)
        return typer.echo(f"{out.name}  is there")
    chain = Trigrams(torch.cat(corpus.train))
    x0 = chain.draw(windows, length, generator=torch.Generator().manual_seed(derived(70_000 + seed)))
    bar = Progress(out.stem, windows, unit="windows")
    uniform = chances(x0, samples, seeds_of(seed, range(windows)))
    found = of_trigrams(chain, x0, fractions, uniform, report=lambda done: bar.update(done, ""))
    facts = dict(command=spelled(ctx), samples=samples, seed=seed, versions=json.dumps(versions()))
    facts |= dict(commit=commit(Path.cwd()) or "", inputs=json.dumps(inputs))
    start = dict(start=(("window", "place"), x0.short().numpy()), passage=("window", list(range(windows))))
    write_dataset(out, found.assign(start).assign_attrs(facts))
    typer.echo(f"{out.name}  {windows} texts of {length} words, {samples} U-turns of each at {len(fractions)} t")
