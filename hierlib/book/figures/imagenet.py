"""Figures 2 (right) and 16 from a run: ``hierlib images figure results/imagenet figure2.pdf``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import matplotlib.pyplot as plt
import torch
import typer
from matplotlib.figure import Figure

from hierlib import _paths
from hierlib._files import whole
from hierlib.book.page.style import INK, WIDTH, palette, widths
from hierlib.images.inversion import Inversion, inversion
from hierlib.images.probe import LayerSimilarity
from hierlib.images.storage import load_layers


class Result(NamedTuple):
    """What one network made of a run."""

    found: dict[int, LayerSimilarity]  #: by inversion time, in steps
    unrelated: LayerSimilarity
    about: dict  #: what made it

    @property
    def t(self) -> list[float]:
        """Inversion times, t/T."""
        return [k / self.about["steps"] for k in self.found]


def load_results(folder: Path) -> list[Result]:
    """All networks of a folder of `hierlib images run`, by name.

    Raises:
        ValueError: there are none, a file is damaged, they are of several runs, one network is there twice, or one has
            random weights.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("layers-*.safetensors"))
    results = [Result(*load_layers(path)) for path in paths]
    if not results:
        raise ValueError(f"{folder}: expected layers-* of `hierlib images run`, got none; name its --folder")
    for result, path in zip(results, paths, strict=True):
        if not isinstance(result.about.get("inputs"), dict):
            raise ValueError(f"{path}: expected a result that says which inputs made it, got none; run it again")
        if not result.about["trained"]:
            raise ValueError(
                f"{folder}: expected results of trained networks, got {result.about['probe']}; random weights are for "
                "tests and never drawn, remove its file"
            )
    of_probe = ("network", "layers", "resize", "crop", "mean", "std")
    networks: dict[str, Path] = {}
    for result, path in zip(results, paths, strict=True):
        inputs = {key: value for key, value in result.about["inputs"].items() if key not in of_probe}
        first = {key: value for key, value in results[0].about["inputs"].items() if key not in of_probe}
        if differ := sorted(key for key in {*first, *inputs} if first.get(key) != inputs.get(key)):
            raise ValueError(
                f"{folder}: expected results of one run, got several, which differ in {', '.join(differ)} "
                f"({paths[0].name}, {path.name}); give each run a folder of its own"
            )
        same = networks.setdefault(result.about["inputs"]["network"], path)
        if same != path:
            raise ValueError(
                f"{folder}: expected results of different networks, got one twice ({same.name}, {path.name}), which "
                "would count as two; remove one"
            )
    return results


def order(results: Sequence[Result]) -> Inversion:
    """The decision rule of `hierlib.images.inversion` on the first and the last layer of all networks.

    Raises:
        ValueError: there are fewer than two networks or images.
    """
    cosine = torch.stack([torch.stack([alike.cosine[:, [0, -1]] for alike in r.found.values()]) for r in results])
    return inversion(cosine, torch.stack([r.unrelated.cosine[:, [0, -1]] for r in results]))


def draw(results: Sequence[Result]) -> Figure:
    """One row for each network: the cosine of every layer against inversion time, its mean and its peak over images.

    First layer teal, logits red; dotted: the class is kept; the bar at the right end: unrelated images, in the first
    layer and in the logits.
    """
    size = (WIDTH, 2.6 * len(results) + 0.3)
    fig, axes = plt.subplots(len(results), 2, figsize=size, sharex=True, sharey=True, squeeze=False)
    for row, result in zip(axes, results, strict=True):
        last = len(result.unrelated.layers) - 1
        kept = [float(alike.kept.double().mean()) for alike in result.found.values()]
        for ax, statistic in zip(row, ("mean", "peak"), strict=True):
            curves = torch.stack([getattr(alike, statistic)() for alike in result.found.values()])
            for j, (colour, width) in enumerate(zip(palette(last), widths(last), strict=True)):
                ax.plot(result.t, curves[:, j], color=colour, lw=width)
            ax.plot(result.t, kept, ":", color=INK, lw=1.4)
            for j in (0, last):
                base = float(getattr(result.unrelated, statistic)()[j])
                ax.plot([1, 1.03], [base, base], color=palette(last)[j], lw=2.4)
            ax.set_title(f"{result.about['probe']}, {statistic}", fontsize=9.5)
        row[0].set_ylabel("cosine of start and end")
    for ax in axes[-1]:
        ax.set_xlabel("inversion time $t/T$")
    fig.tight_layout()
    return fig


def sentence(results: Sequence[Result]) -> str:
    """What the rule says of the results, time by time."""
    found = order(results)
    sides = zip(results[0].t, found.difference.tolist(), found.half_width.tolist(), strict=True)
    rows = [f"t/T = {t:.2f}: {d:+.4f} ± {h:.4f}" for t, d, h in sides]
    verdict = "inverts" if found.inverts else "does not invert"
    head = "First layer minus logits, unrelated images subtracted, all intervals together 95 %:"
    return "\n".join([head, *rows, f"By the rule the order {verdict} ({len(results)} networks)."])


def figure(
    results: Annotated[Path, _paths.argument(help="--folder of `hierlib images run`.")],
    out: Annotated[Path, _paths.argument(help="File of the figure: .pdf, .svg or .png.")],
) -> None:
    """Draw figures 2 and 16 from a run, and say what the decision rule says of it."""
    found = load_results(results)
    fig = draw(found)
    try:
        with whole(out) as part:
            fig.savefig(part, dpi=200, format=out.suffix.removeprefix("."))
    finally:
        plt.close(fig)
    typer.echo(sentence(found) if len(found) > 1 else "The rule wants two networks or more.")
