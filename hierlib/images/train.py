"""`hierlib train diffusion`, `classifier` and `pictures`: the models of the experiment on images."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer
from torch import Tensor, nn

from hierlib import _paths
from hierlib._commands import Every, Minutes, Seed, Threads, group, spelled
from hierlib._devices import chosen
from hierlib._provenance import plain, same_inputs, versions
from hierlib.images import data as datasets
from hierlib.images.classifier import ImageCNN, classify
from hierlib.images.models import load_weights, placed, save
from hierlib.images.picture_classifier import KIND, PictureCNN, PictureData, accuracy, fresh_loss
from hierlib.images.schedule import LINEAR, exact_scheduler
from hierlib.images.unet import small_config, unet
from hierlib.networks.fit import Schedule, fit
from hierlib.networks.progress import Progress

if TYPE_CHECKING:
    from diffusers import DDPMScheduler

Loss = Callable[[Tensor, torch.Generator], Tensor]  # of the images of these numbers

#: What is trained on which data; the length is for two CPU cores (fashion) or a GPU (cifar10).
DIFFUSION: dict[str, tuple[dict[str, Any], Schedule]] = {
    "fashion": (
        dict(widths=(64, 128)),
        Schedule(600_000, batch=128, learning_rate=1e-3, ema=0.998),
    ),
    "cifar10": (
        dict(widths=(96, 160), layers=2),
        Schedule(8_000_000, batch=256, learning_rate=1e-3, warmup=1000, ema=0.9995),
    ),
}
CLASSIFIER: dict[str, tuple[dict[str, Any], Schedule]] = {
    "fashion": (dict(width=32), Schedule(480_000, batch=128, learning_rate=4e-3, decay=0.8, weight_decay=0.02)),
    "cifar10": (
        dict(width=48, depth=3),
        Schedule(2_000_000, batch=128, learning_rate=4e-3, decay=0.8, weight_decay=0.02),
    ),
}
PICTURES = Schedule(192_000, batch=128, learning_rate=2e-3, warmup=100, decay=0.25)


def denoising_loss(network: nn.Module, images: Tensor, scheduler: DDPMScheduler, fold: int, flip: bool) -> Loss:
    """Mean square error of v = √ᾱ ε - √(1-ᾱ) x₀, at times spread evenly over each batch."""
    alpha_bar = scheduler.alphas_cumprod.to(images.device)

    def loss(index: Tensor, rng: torch.Generator) -> Tensor:
        x = images[index.to(images.device)].float() / 127.5 - 1
        n, device = len(x), x.device
        if flip:
            mirrored = torch.rand(n, 1, 1, 1, dtype=torch.float32, generator=rng, device=device) < 0.5
            x = torch.where(mirrored, x.flip(3), x)
        x = nn.functional.pixel_unshuffle(x, fold)
        u = (torch.arange(n, device=device) + torch.rand(1, dtype=torch.float32, generator=rng, device=device)) / n
        t = (u * len(alpha_bar)).long().clamp_max(len(alpha_bar) - 1)
        a = alpha_bar[t].float()[:, None, None, None]
        noise = torch.randn(x.shape, dtype=torch.float32, generator=rng, device=device)
        noisy = (a.sqrt() * x + (1 - a).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            out = network(noisy, t, return_dict=False)[0]
        return (out.float() - (a.sqrt() * noise - (1 - a).sqrt() * x)).square().mean()

    return loss


def classification_loss(network: nn.Module, images: Tensor, labels: Tensor, shift: int = 2) -> Loss:
    """Cross entropy of the class of images that are mirrored at random and, batch by batch, shifted."""

    def loss(index: Tensor, rng: torch.Generator) -> Tensor:
        index = index.to(images.device)
        x, device, size = images[index].float() / 127.5 - 1, images.device, images.shape[-1]
        mirrored = torch.rand(len(x), 1, 1, 1, dtype=torch.float32, generator=rng, device=device) < 0.5
        x = nn.functional.pad(torch.where(mirrored, x.flip(3), x), (shift,) * 4, value=-1.0)
        dy, dx = torch.randint(2 * shift + 1, (2,), generator=rng, device=device).tolist()
        x = x[:, :, dy : dy + size, dx : dx + size].contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            out = network(x)
        return nn.functional.cross_entropy(out.float(), labels[index])

    return loss


app = group("Training on images.")
Data = Annotated[
    str, typer.Option(help="fashion: files in MNIST's format, Fashion-MNIST if no --folder is named; or cifar10.")
]
Folder = Annotated[Path | None, _paths.option(help="Where the data are (Fashion-MNIST: or Debian's package).")]
Download = Annotated[bool, typer.Option("--download", help="Let torchvision download the data into --folder.")]
Out = Annotated[Path, _paths.option(help="safetensors file to write, with a json.")]
Checkpoint = Annotated[Path | None, _paths.option(help="File to go on from; by default --out with .part.")]
Examples = Annotated[int | None, typer.Option(min=1, help="Images to show in all.")]
Batch = Annotated[int | None, typer.Option(min=1, help="Images a step.")]


@app.command()
def diffusion(
    ctx: typer.Context,
    out: Out,
    data: Data = "fashion",
    folder: Folder = None,
    download: Download = False,
    examples: Examples = None,
    batch: Batch = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = None,
    minutes: Minutes = math.inf,
    every: Every = 120.0,
) -> None:
    """Train a denoiser: v-prediction, 1000 steps of the linear β schedule."""
    images = open_data(data, "train", folder, download)
    build, schedule = DIFFUSION[data]
    schedule = _schedule(schedule, examples, batch, seed)
    channels, size = images.images.shape[1:3]
    config = small_config(channels, size, **build)
    steps = dict(LINEAR, prediction_type="v_prediction", variance_type="fixed_small", timestep_spacing="linspace")
    flip = data == "cifar10"  # Fashion-MNIST's shoes point one way, and digits are others when they are mirrored
    about: dict[str, Any] = dict(
        kind="diffusion model", name=f"small model of {images.name}", network=config, scheduler=steps
    )
    about |= dict(channels=channels, size=size, fold=2)

    def build_network() -> nn.Module:
        return unet(config)

    def loss(network: nn.Module) -> Loss:
        return denoising_loss(network, images.images.to(chosen()), exact_scheduler(**steps), 2, flip)

    inputs = dict(scheduler=steps, fold=2, flip=flip)
    _train(build_network, loss, images, schedule, out, checkpoint, minutes, every, about, inputs, spelled(ctx))


@app.command()
def classifier(
    ctx: typer.Context,
    out: Out,
    data: Data = "fashion",
    folder: Folder = None,
    download: Download = False,
    depth: Annotated[int | None, typer.Option(min=1, help="Convolutions in each of the three stages.")] = None,
    examples: Examples = None,
    batch: Batch = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = None,
    minutes: Minutes = math.inf,
    every: Every = 120.0,
) -> None:
    """Train a classifier on shifted and mirrored images; its accuracy is measured on the test set."""
    images = open_data(data, "train", folder, download)
    build, schedule = CLASSIFIER[data]
    build = build | ({} if depth is None else dict(depth=depth))
    schedule = _schedule(schedule, examples, batch, seed)
    config = ImageCNN(images.images.shape[1], len(images.classes), **build).config
    about = dict(kind="classifier", name=f"CNN of {images.name}, seed {schedule.seed}", network=config)
    about |= dict(classes=images.classes)

    def loss(network: nn.Module) -> Loss:
        return classification_loss(network, images.images.to(chosen()), images.labels.to(chosen()))

    def measure(network: nn.Module) -> dict[str, float]:
        test = open_data(data, "test", folder, download)
        right = (classify(network, test.images) == test.labels).double().mean()
        return dict(test_accuracy=round(float(right), 4))

    def build_network() -> nn.Module:
        return ImageCNN(**config)

    inputs = dict(classes=images.classes)
    _train(build_network, loss, images, schedule, out, checkpoint, minutes, every, about, inputs, spelled(ctx), measure)


@app.command()
def pictures(
    ctx: typer.Context,
    out: Out,
    grammar: Annotated[int, typer.Option(min=0, help="Seed of the grammar's rules.")] = 0,
    width: Annotated[int, typer.Option(min=1, help="Channels of the first block.")] = 16,
    examples: Examples = None,
    batch: Batch = None,
    seed: Seed = 0,
    threads: Threads = 1,
    checkpoint: Checkpoint = None,
    minutes: Minutes = math.inf,
    every: Every = 120.0,
) -> None:
    """Train a classifier on pictures of the grammar v=12 m=12 s=4 L=3, each seen once."""
    torch.set_num_threads(threads)
    data, schedule = PictureData(grammar=grammar), _schedule(PICTURES, examples, batch, seed)
    config = PictureCNN(data.side, data.v, width).config
    about: dict[str, Any] = dict(kind=KIND, name=f"CNN of {data.name}", network=config, pictures=asdict(data))

    def loss(network: nn.Module) -> Loss:
        return fresh_loss(network, data, schedule.batch)

    def measure(network: nn.Module) -> dict[str, float]:
        rng = torch.Generator(chosen()).manual_seed(2**31 + schedule.seed)
        return dict(test_accuracy=round(accuracy(network, data, 2000, generator=rng), 4))

    def build_network() -> nn.Module:
        return PictureCNN(**config)

    _train(build_network, loss, data, schedule, out, checkpoint, minutes, every, about, {}, spelled(ctx), measure)


def _train(
    build: Callable[[], nn.Module],
    loss: Callable[[nn.Module], Loss],
    images: datasets.LabelledImages | PictureData,
    schedule: Schedule,
    out: Path,
    checkpoint: Path | None,
    minutes: float,
    every: float,
    about: dict[str, Any],
    inputs: Mapping[str, Any],
    command: str,
    measure: Callable[[nn.Module], dict[str, float]] = lambda network: {},
) -> None:
    """Train, or find what is trained of the same inputs; exit code 3 if the minutes ran out."""
    data = images.digest()
    wanted = plain(dict(network=about["network"], data=data, schedule=asdict(schedule), **inputs))
    if out.exists():
        found = load_weights(out, about["kind"])[1]
        same_inputs(out, found.get("inputs"), wanted)
        return print(f"{out} is there already", file=sys.stderr)
    checkpoint = checkpoint or out.with_suffix(".part")  # which git ignores
    torch.manual_seed(schedule.seed)  # layers draw their first weights from torch's own generator
    network = placed(build(), chosen())
    bar, start, clock = Progress(about["name"], schedule.steps * schedule.batch), time.monotonic(), _CoreTime()

    def report(shown: int, note: str) -> None:
        clock.mark(shown)
        bar.follow(shown, note)

    weights = fit(
        network,
        loss(network),
        schedule.steps * schedule.batch if isinstance(images, PictureData) else len(images),
        schedule,
        checkpoint=checkpoint,
        identity={"kind": about["kind"], **wanted},
        minutes=minutes,
        every=every,
        report=report,
    )
    if weights is None:
        print(f"{minutes:g} minutes are over; the same command goes on from {checkpoint}", file=sys.stderr)
        raise typer.Exit(3)
    examples = schedule.steps * schedule.batch
    made: dict[str, Any] = dict(data=images.name, licence_of_data=images.licence, sha256_of_data=data, command=command)
    made |= dict(seed=schedule.seed, examples=examples, versions=versions(), device=_device_name())
    made |= dict(minutes_of_last_call=round((time.monotonic() - start) / 60, 1), **clock.minutes(examples))
    save(out, weights, about | measure(network) | dict(inputs=wanted, trained_on=made))
    checkpoint.unlink(missing_ok=True)
    print(f"wrote {out} and {out.with_suffix('.json').name}", file=sys.stderr)


class _CoreTime:
    """The processor's time for one image, from the first to the last report."""

    def __init__(self) -> None:
        self.marks: list[tuple[int, float]] = []

    def mark(self, shown: int) -> None:
        self.marks[1:] = [(shown, time.process_time())]

    def minutes(self, examples: int) -> dict[str, float]:
        """That of all images, if there were two reports."""
        if len(self.marks) < 2 or self.marks[1][0] <= self.marks[0][0]:
            return {}
        (first, begin), (last, end) = self.marks
        return dict(core_minutes=float(f"{(end - begin) / (last - first) / 60 * examples:.3g}"))


def open_data(data: str, split: str, folder: Path | None, download: bool) -> datasets.LabelledImages:
    """The images that a command names.

    Raises:
        ValueError: it is another name, or as `hierlib.images.data`.
    """
    if data not in DIFFUSION:
        raise ValueError(f"--data: expected one of {', '.join(DIFFUSION)}, got {data!r}")
    if data == "fashion":
        return datasets.idx_images(split, folder=folder, download=download)
    if folder is None:
        raise ValueError("--folder: expected the folder of CIFAR-10, got none; name it (and --download to fill it)")
    return datasets.cifar10(split, folder=folder, download=download)


def _schedule(schedule: Schedule, examples: int | None, batch: int | None, seed: int) -> Schedule:
    given = dict(examples=examples, batch=batch, seed=seed)
    return replace(schedule, **{name: value for name, value in given.items() if value is not None})


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
