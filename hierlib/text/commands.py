"""`python -m hierlib.train text …`: trains the language models of the book and measures their U-turns."""

from __future__ import annotations

import json
import math
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
import typer
import xarray as xr

from hierlib._provenance import commit, versions
from hierlib._storage import write_dataset
from hierlib.networks.fit import Schedule
from hierlib.networks.progress import Progress
from hierlib.text.bound import train
from hierlib.text.corpus import Corpus
from hierlib.text.measure import study
from hierlib.text.model import Size, TextModel
from hierlib.text.uturn import chances

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Masked diffusion on text: train a model, take its U-turns (the chapter on text).",
)
Threads = Annotated[int, typer.Option(min=1, help="Of the processor; the committed files were made with 1.")]


@contextmanager
def _refusing():
    try:
        yield
    except ValueError as error:
        typer.echo(f"hierlib.train: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted. The same command goes on from the last checkpoint.", err=True)
        raise typer.Exit(130) from None


@app.command("fit")
def fit_(
    data: Annotated[Path, typer.Option(help="A plain text file, UTF-8; empty lines part its passages.")],
    out: Annotated[Path, typer.Option(help="The safetensors file to write.")],
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Shuffle the words of every line: the control.")] = False,
    length: Annotated[int, typer.Option(min=2, help="Words that the model sees at once.")] = 64,
    vocabulary: Annotated[int, typer.Option(min=4, help="Words that it knows, the most frequent ones.")] = 4096,
    width: Annotated[int, typer.Option(min=1, help="Channels of every layer.")] = Size.width,
    blocks: Annotated[int, typer.Option(min=1, help="Layers of attention.")] = Size.blocks,
    examples: Annotated[int, typer.Option(min=1, help="Windows of text to show in all.")] = 60_000,
    batch: Annotated[int, typer.Option(min=1, help="Windows a step.")] = 32,
    rate: Annotated[float, typer.Option(min=1e-6, help="Learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order, erased words and shuffling.")] = 0,
    minutes: Annotated[float, typer.Option(min=0, help="Stop then, code 3; the same command goes on.")] = math.inf,
    threads: Threads = 1,
) -> None:
    """Train a masked-diffusion language model on a text file.

    A run that was killed goes on from its checkpoint, OUT with the ending .part; a file that is there is left alone.
    """
    torch.set_num_threads(threads)
    with _refusing():
        if out.exists():
            TextModel.load(out)
            return typer.echo(f"{out.name}  is there")
        corpus = Corpus.read(data, length=length, vocabulary=vocabulary, shuffle=shuffle, seed=seed)
        size = Size(len(corpus.vocabulary), length, width=width, blocks=blocks)
        schedule = Schedule(examples, batch, rate, ema=0.998, seed=seed)
        words = sum(map(len, corpus.train))
        typer.echo(
            f"{out.name}  {len(corpus.train)} passages, {words:,} words; {len(corpus.held_out)} held out; "
            f"{corpus.skipped} too short"
        )
        shown = Progress(out.stem, schedule.steps * batch, unit="windows", file=sys.stderr)
        about = dict(
            command=f"python -m hierlib.train text fit --data {data.name} --out {out.name}{' --shuffle' * shuffle} "
            f"--length {length} --vocabulary {vocabulary} --width {width} --blocks {blocks} --examples {examples} "
            f"--batch {batch} --rate {rate} --seed {seed} --threads {threads}",
            versions=versions(),
            commit=commit(Path.cwd()),
        )

        def tell(done: int, loss: float) -> None:
            shown.update(done, f"loss {loss:.3f} nats a word")

        checkpoint = out.with_suffix(".part")
        model = train(corpus, size, schedule, checkpoint=checkpoint, about=about, minutes=minutes, report=tell)
        if model is None:
            typer.echo(f"{out.name}  is not finished; the same command goes on")
            raise typer.Exit(3)
        model.save(out)
        checkpoint.unlink()
        typer.echo(f"{out.name}  validation loss {model.about['validation']:.3f} nats a word")


@app.command()
def uturns(
    data: Annotated[Path, typer.Option(help="The text file that the model was trained on.")],
    model: Annotated[Path, typer.Option(help="The safetensors file of the model.")],
    out: Annotated[Path, typer.Option(help="The netCDF file to write.")],
    shuffle: Annotated[bool, typer.Option("--shuffle", help="The model is that of the shuffled text.")] = False,
    windows: Annotated[int, typer.Option(min=2, help="Starts, from the held-out passages.")] = 96,
    samples: Annotated[int, typer.Option(min=2, help="U-turns from each start at each t.")] = 16,
    times: Annotated[str, typer.Option(help="Fractions of erased words.")] = ".1,.2,.3,.4,.5,.6,.7,.8,.9,1",
    steps: Annotated[int, typer.Option(min=1, help="In which the erased words come back, at most.")] = 20,
    keep: Annotated[int, typer.Option(min=0, help="Samples of each start to keep whole.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Start number i has the seed 1000 SEED + i.")] = 0,
    threads: Threads = 1,
) -> None:
    """Erase words of held-out text, let the model bring words back, and measure how changes go together.

    What is done for one t is kept beside OUT in a .part file, from which a run that was killed goes on.
    """
    torch.set_num_threads(threads)
    if out.exists():
        return typer.echo(f"{out.name}  is there")
    with _refusing():
        found = TextModel.load(model)
        size, seed_of = found.network.size, found.about["schedule"]["seed"]
        try:
            fractions = [float(part) for part in times.split(",")]
        except ValueError:
            raise ValueError(
                f"times: expected numbers between 0 and 1 with commas between them, got {times!r}"
            ) from None
        corpus = Corpus.read(data, length=size.length, vocabulary=size.vocabulary, shuffle=shuffle, seed=seed_of)
        if corpus.sha256 != found.about["sha256"]:
            raise ValueError(
                f"{data}: expected the text of {model.name} (sha256 of its words {found.about['sha256'][:12]}…), got "
                f"another ({corpus.sha256[:12]}…); give the file it was trained on, --shuffle for the control only"
            )
        x0, passage = corpus.windows(windows)
        uniform = chances(x0, samples, [1000 * seed + i for i in range(windows)])
        facts = dict(
            command=f"python -m hierlib.train text uturns --data {data.name} --model {model.name} --out {out.name}"
            f"{' --shuffle' * shuffle} --windows {windows} --samples {samples} --times {times} --steps {steps} "
            f"--keep {keep} --seed {seed} --threads {threads}",
            samples=samples,
            steps=steps,
            seed=seed,
            validation=found.about["validation"],
            model_sha256=found.about["sha256"],
            versions=json.dumps(versions()),
            commit=commit(Path.cwd()),
        )
        shown = Progress(out.stem, len(fractions), unit="fractions", file=sys.stderr)
        parts = [out.with_name(f"{out.stem}-{t:g}.part") for t in fractions]
        for k, (t, part) in enumerate(zip(fractions, parts)):
            if part.exists():
                with xr.open_dataset(part) as there:
                    if there.attrs["command"] != facts["command"]:
                        raise ValueError(f"{part}: expected a part of this command, got one of another: move it away")
                shown.skip(1)
                continue
            one = study(found.network, x0, t, uniform, steps=steps, keep=keep).assign_attrs(facts)
            write_dataset(part, one)
            shown.update(k + 1, f"t {t:g}")
        opened = [xr.load_dataset(part) for part in parts]
        start = dict(start=(("window", "place"), x0.int().numpy()), passage=("window", passage.numpy()))
        write_dataset(out, xr.concat(opened, "t").assign(start).assign_attrs(facts))
        for part in parts:
            part.unlink()
        typer.echo(
            f"{out.name}  {windows} windows of {size.length} words, {samples} U-turns of each at {len(fractions)} t"
        )
