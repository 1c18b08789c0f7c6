"""`python -m hierlib.train text …`: trains the language models of the book and measures their U-turns."""

from __future__ import annotations

import math
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
import typer

from hierlib.book.provenance import commit, versions
from hierlib.images.fit import Schedule
from hierlib.images.progress import Progress
from hierlib.text.bound import train
from hierlib.text.corpus import Corpus
from hierlib.text.model import Size, TextModel

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
        out.parent.mkdir(parents=True, exist_ok=True)
        model.save(out)
        checkpoint.unlink()
        typer.echo(f"{out.name}  validation loss {model.about['validation']:.3f} nats a word")
