"""The forward-backward experiment: add noise up to an inversion time, denoise back (section 2.2, figures 1 and 2)."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hierlib.images.models import DiffusionModel
from hierlib.networks.classifier import _read, _write
from hierlib.networks.progress import Progress


class UTurns(NamedTuple):
    """A batch of images and what they became."""

    k: int  #: inversion after k of the respaced steps
    first: int  #: number of the first image
    start: Tensor  #: (n, channels, size, size) uint8
    end: Tensor  #: the same shape, uint8


def respaced(model: DiffusionModel, steps: int):
    """The model's scheduler on a coarser grid of times, as OpenAI's `space_timesteps` spaces them.

    Returns:
        The scheduler, and the times in increasing order, times[j] the training step of the respaced index j.

    Raises:
        ValueError: more steps than the model was trained with, or fewer than 2.
    """
    trained = len(model.scheduler.alphas_cumprod)
    if not 2 <= steps <= trained:
        raise ValueError(f"steps: expected 2 to {trained} for {model.name}, got {steps}")
    scheduler = copy.deepcopy(model.scheduler)
    scheduler.set_timesteps(steps)
    return scheduler, scheduler.timesteps.flip(0).tolist()


def noised(model: DiffusionModel, x: Tensor, k: int, *, steps: int, matched: bool, rngs: list) -> Tensor:
    """The state after noising k of the steps, one generator an image.

    The authors' code noises to the respaced index k and denoises from k - 1, so that the network is told of slightly
    less noise than there is; k = steps is pure noise. `matched` noises to the index that denoising starts from.
    """
    _, times = respaced(model, steps)
    noise = torch.stack([torch.randn(x.shape[1:], dtype=torch.float32, generator=rng, device=x.device) for rng in rngs])
    index = k - 1 if matched else k
    if index == steps:
        return noise
    a = model.scheduler.alphas_cumprod[times[index]]
    return a.sqrt() * x + (1 - a).sqrt() * noise


@torch.inference_mode()
def denoised(model: DiffusionModel, x: Tensor, k: int, *, steps: int, rngs: list, report=None) -> Tensor:
    """Ancestral sampling from the respaced index k - 1 to a clean state, one generator an image."""
    scheduler, times = respaced(model, steps)
    for done, t in enumerate(reversed(times[:k]), start=1):
        x = scheduler.step(model.output(x, t), t, x, generator=rngs).prev_sample
        if report is not None:
            report(done)
    return x


def uturns(
    model: DiffusionModel,
    images: Tensor | Sequence,
    k: Sequence[int],
    *,
    steps: int = 250,
    seed: int = 0,
    batch: int = 32,
    matched: bool = False,
    truncate: bool = False,
    folder: Path | None = None,
    show: bool = True,
) -> Iterator[UTurns]:
    """Forward and backward, batch by batch, for every inversion time; a killed run goes on from `folder`.

    Every image has its own generator for every k, seeded by `seed`, k and its number: the result depends neither on
    the batch size nor on the other images (to the last bit if the model has `lanes`, else up to rounding). It does
    depend on the kind of device.

    Args:
        model: on its device.
        images: uint8 (n, channels, size, size), or anything that gives such a tensor for a slice (`ImageFiles`).
        k: inversion times, 1 … steps, in steps of the respaced grid.
        steps: of that grid; the paper has 250.
        seed: of all noise.
        batch: images at once.
        matched: see `noised`; False is what the authors' code does.
        truncate: cut to 8 bits by truncation, as the authors' code does, instead of by rounding.
        folder: one file for each k and batch is written there when it is done, and read instead of made if it exists.
        show: whether to show progress.

    Yields:
        `UTurns`, in the order of k, then of the images.

    Raises:
        ValueError: an argument is out of range, the images don't fit the model, a file in `folder` is of another run.
    """
    _, times = respaced(model, steps)
    if bad := [j for j in k if not 1 <= j <= len(times)]:
        raise ValueError(f"k: expected inversion times from 1 to {steps} steps, got {bad}; k = 0 would change nothing")
    if batch < 1 or not len(images) or not len(k):
        raise ValueError(f"expected images, inversion times and batch ≥ 1, got {len(images)}, {len(k)} and {batch}")
    jobs = [(j, i) for j in k for i in range(0, len(images), batch)]
    total = sum(j * min(batch, len(images) - i) for j, i in jobs)
    bar = Progress(model.name, total, unit="network calls", show=show)
    finished, made, begin = 0, 0, time.monotonic()
    for j, i in jobs:
        start = images[i : i + batch]
        n = len(start)
        identity = dict(model=model.name, digest=model.digest, steps=steps, seed=seed)
        identity |= dict(matched=matched, truncate=truncate)
        identity |= dict(k=j, first=i, start=hashlib.sha256(start.contiguous().numpy().tobytes()).hexdigest())
        path = None if folder is None else Path(folder) / f"k{j:04d}-{i:06d}-{i + n:06d}.safetensors"
        if path is not None and path.exists():
            end = _finished(path, identity)
            bar.skip(n * j)
        else:

            def report(step, n=n):
                speed = (made + n * step / j) / max(time.monotonic() - begin, 1e-9)  # noqa: B023
                bar.update(finished + n * step, f"k = {j}, {speed:.2f} images/s")  # noqa: B023

            rngs = [generator(model.device, seed, j, i + b) for b in range(n)]
            x = noised(model, model.encode(start), j, steps=steps, matched=matched, rngs=rngs)
            end = model.decode(denoised(model, x, j, steps=steps, rngs=rngs, report=report), truncate=truncate).cpu()
            made += n
            if path is not None:
                _write(path, {"images": end.contiguous()}, identity)
        finished += n * j
        yield UTurns(j, i, start, end)


def forward_backward(model: DiffusionModel, images: Tensor | Sequence, k: Sequence[int] | int, **options) -> Tensor:
    """The images that come out of inversion after k steps: uint8 (len(k), n, …), or (n, …) for one k.

    Args and errors are those of `uturns`; all images are held in memory.
    """
    times = [k] if isinstance(k, int) else list(k)
    ends = [u.end for u in uturns(model, images, times, **options)]
    out = torch.cat(ends).unflatten(0, (len(times), -1))
    return out[0] if isinstance(k, int) else out


def generator(device, seed: int, k: int, index: int) -> torch.Generator:
    """The source of all noise of one image at one inversion time."""
    word = hashlib.sha256(f"{seed}/{k}/{index}".encode()).digest()[:8]
    return torch.Generator(device).manual_seed(int.from_bytes(word, "big") >> 1)


def _finished(path: Path, identity: dict) -> Tensor:
    tensors, about = _read(path)
    if about != identity:
        changed = [key for key in identity if about.get(key) != identity[key]]
        raise ValueError(
            f"{path}: expected a batch of this run, got one that differs in {', '.join(changed)}; name another folder"
        )
    return tensors["images"]
