"""Train the embedded models: ``python -m hierlib.images.train diffusion --data fashion``, ``… classifier --seed 0``."""

from __future__ import annotations

import argparse
import math
import platform
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from hierlib.images import data as datasets
from hierlib.images import models
from hierlib.images.card import model_card
from hierlib.images.classifier import ImageCNN, classify, load_classifier
from hierlib.images.files import write_idx
from hierlib.images.models import LINEAR, exact_scheduler, load_small, save, small_config, unet
from hierlib.images.probe import cnn_probe
from hierlib.images.quality import judge, save_grid
from hierlib.networks.fit import Schedule, fit
from hierlib.networks.progress import Progress

#: What is trained on which data; the length is for two CPU cores (fashion) or a GPU (cifar10).
DIFFUSION = {
    "fashion": (
        dict(widths=(64, 128)),
        Schedule(600_000, batch=128, learning_rate=1e-3, ema=0.998),
    ),
    "cifar10": (
        dict(widths=(96, 160), layers=2),
        Schedule(8_000_000, batch=256, learning_rate=1e-3, warmup=1000, ema=0.9995),
    ),
}
CLASSIFIER = {
    "fashion": (dict(width=32), Schedule(480_000, batch=128, learning_rate=4e-3, decay=0.8, weight_decay=0.02)),
    "cifar10": (
        dict(width=48, depth=3),
        Schedule(2_000_000, batch=128, learning_rate=4e-3, decay=0.8, weight_decay=0.02),
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Entry point; exit code 3 if the minutes ran out and the same command goes on, 2 if an input is wrong."""
    options = _parser().parse_args(argv)
    try:
        words = sys.argv[1:] if argv is None else argv
        return options.do(options, "python -m hierlib.images.train " + shlex.join(words))
    except ValueError as error:
        print(f"hierlib.images.train: {error}", file=sys.stderr)
        return 2


def diffusion(options, command: str) -> int:
    """Train a denoiser: v-prediction, 1000 steps of the linear β schedule."""
    images = _data(options, "train")
    build, schedule = DIFFUSION[options.data]
    schedule = _schedule(schedule, options)
    channels, size = images.images.shape[1:3]
    config = small_config(channels, size, **build)
    torch.manual_seed(schedule.seed)  # diffusers' layers draw their first weights from torch's own generator
    network = unet(config).to(_device(), memory_format=torch.channels_last)
    steps = dict(LINEAR, prediction_type="v_prediction", variance_type="fixed_small", timestep_spacing="linspace")
    loss = denoising_loss(network, images.images.to(_device()), exact_scheduler(**steps), 2, options.data != "fashion")
    about = dict(kind="diffusion model", name=f"small model of {images.name}", network=config, scheduler=steps)
    about |= dict(channels=channels, size=size, fold=2, trained_on=_provenance(images, command, schedule))
    return _train(network, loss, images, schedule, options, about)


def denoising_loss(network: nn.Module, images: Tensor, scheduler, fold: int, flip: bool):
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


def classifier(options, command: str) -> int:
    """Train a classifier on shifted and mirrored images; its accuracy is measured on the test set."""
    images = _data(options, "train")
    build, schedule = CLASSIFIER[options.data]
    build = build | ({} if options.depth is None else dict(depth=options.depth))
    schedule = _schedule(schedule, options)
    torch.manual_seed(schedule.seed)
    network = ImageCNN(images.images.shape[1], len(images.classes), **build)
    network = network.to(_device(), memory_format=torch.channels_last)
    loss = classification_loss(network, images.images.to(_device()), images.labels.to(_device()))
    about = dict(kind="classifier", name=f"CNN of {images.name}, seed {schedule.seed}", network=network.config)
    about |= dict(classes=images.classes, trained_on=_provenance(images, command, schedule))

    def measure() -> dict:
        test = _data(options, "test")
        right = (classify(network, test.images) == test.labels).double().mean()
        return dict(test_accuracy=round(float(right), 4))

    return _train(network, loss, images, schedule, options, about, measure)


def classification_loss(network: nn.Module, images: Tensor, labels: Tensor, shift: int = 2):
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


def quality(options, command: str) -> int:
    """Measure the samples of a trained denoiser with a trained classifier; adds numbers to its json, and a grid."""
    model = load_small(options.model).to(_device())
    probe = cnn_probe(load_classifier(options.classifier)[0].to(_device()))
    test = _data(options, "test")
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0), device="cpu")
    samples, record = judge(model, probe, test.images[order], n=options.samples, steps=options.steps)
    about = model.about | {"quality": record | {"classifier": options.classifier.name, "command": command}}
    models.describe(options.model, about)
    save_grid(options.model.with_suffix(".png"), samples[:64], scale=2)
    print(record, file=sys.stderr)
    return 0


def subset(options, command: str) -> int:
    """Write a class-balanced part of the test set of Fashion-MNIST in its own format, to ship with the models."""
    if options.data != "fashion":
        raise ValueError(f"--data: expected fashion, whose images are small and free to pass on, got {options.data}")
    few = _data(options, "test").choose(options.per_class, seed=0)
    write_idx(options.out / "t10k-images-idx3-ubyte", few.images[:, 0])
    write_idx(options.out / "t10k-labels-idx1-ubyte", few.labels.to(torch.uint8))
    return 0


def card(options, command: str) -> int:
    """Write the model card of all models in a folder from their json files."""
    (options.models / "README.md").write_text(model_card(options.models), "utf-8")
    return 0


def _train(network, loss, images, schedule, options, about, measure=dict) -> int:
    out = Path(options.out)
    checkpoint = options.checkpoint or out.with_suffix(".part")  # which git ignores
    if out.exists():
        raise ValueError(f"{out}: expected no file there, got one; remove it to train again")
    bar, start = None, time.monotonic()
    begin = last = None

    def report(shown: int, running: float) -> None:
        nonlocal bar, begin, last
        last = shown, time.process_time()
        begin = begin or last
        if bar is None:
            bar = Progress(about["name"], schedule.steps * schedule.batch, done=shown)
        bar.update(shown, f"loss {running:.4f}")

    identity = {key: about[key] for key in ("kind", "network")} | {"data": about["trained_on"]["sha256_of_data"]}
    weights = fit(
        network,
        loss,
        len(images),
        schedule,
        checkpoint=checkpoint,
        identity=identity,
        minutes=options.minutes,
        every=options.every,
        report=report,
    )
    if weights is None:
        print(f"{options.minutes:g} minutes are over; the same command goes on from {checkpoint}", file=sys.stderr)
        return 3
    about |= measure()
    about["trained_on"] |= dict(device=_device_name(), minutes_of_last_call=round((time.monotonic() - start) / 60, 1))
    if begin is not None and last[0] > begin[0]:
        an_image = (last[1] - begin[1]) / (last[0] - begin[0]) / 60
        about["trained_on"]["core_minutes"] = float(f"{an_image * about['trained_on']['examples']:.3g}")
    save(out, weights, about)
    checkpoint.unlink(missing_ok=True)
    print(f"wrote {out} and {out.with_suffix('.json').name}", file=sys.stderr)
    return 0


def _data(options, split: str) -> datasets.LabelledImages:
    if options.data == "fashion":
        return datasets.fashion_mnist(split, folder=options.folder, download=options.download)
    if options.folder is None:
        raise ValueError("--folder: expected the folder of CIFAR-10, got none; name it (and --download to fill it)")
    return datasets.cifar10(split, folder=options.folder, download=options.download)


def _schedule(schedule: Schedule, options) -> Schedule:
    given = {k: getattr(options, k) for k in ("examples", "batch", "seed") if getattr(options, k) is not None}
    for name, value in given.items():
        if name != "seed" and value < 1:
            raise ValueError(f"--{name}: expected at least 1, got {value}")
    return replace(schedule, **given)


def _provenance(images: datasets.LabelledImages, command: str, schedule: Schedule) -> dict:
    return dict(
        data=images.name,
        licence_of_data=images.licence,
        sha256_of_data=images.digest(),
        command=command,
        seed=schedule.seed,
        examples=schedule.steps * schedule.batch,
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Of what decides about numbers, for the record of a training or a run."""
    import diffusers

    import hierlib

    found = dict(python=platform.python_version(), hierlib=hierlib.__version__)
    return found | dict(torch=torch.__version__, diffusers=diffusers.__version__)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hierlib.images.train", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    for do in (diffusion, classifier, quality, subset, card):
        command = commands.add_parser(do.__name__, help=do.__doc__, description=do.__doc__)
        command.set_defaults(do=do)
        if do is card:
            command.add_argument("models", type=Path, help="folder of safetensors files with their json files")
            continue
        command.add_argument("--data", choices=sorted(DIFFUSION), default="fashion")
        command.add_argument("--folder", type=Path, help="where the data are (Fashion-MNIST: or Debian's package)")
        command.add_argument("--download", action="store_true", help="let torchvision download the data into --folder")
        if do is quality:
            command.add_argument("--model", type=Path, required=True, help="safetensors file of the denoiser")
            command.add_argument("--classifier", type=Path, required=True, help="safetensors file of the classifier")
            command.add_argument("--samples", type=int, default=1024, help="how many to draw")
            command.add_argument("--steps", type=int, default=100, help="of the sampler")
        elif do is subset:
            command.add_argument("--out", type=Path, required=True, help="folder to write into")
            command.add_argument("--per-class", type=int, default=100)
        else:
            command.add_argument("--out", type=Path, required=True, help="safetensors file to write, with a json")
            command.add_argument("--checkpoint", type=Path, help="file to resume from (default: --out with .part)")
            command.add_argument("--minutes", type=float, default=math.inf, help="stop then; the same command goes on")
            command.add_argument("--every", type=float, default=120, help="seconds between checkpoints")
            command.add_argument("--examples", type=int, help="images to show in all")
            command.add_argument("--batch", type=int, help="images a step")
            command.add_argument("--seed", type=int)
            if do is classifier:
                command.add_argument("--depth", type=int, help="convolutions in each of the three stages")
    return parser


if __name__ == "__main__":
    sys.exit(main())
