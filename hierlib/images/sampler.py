"""The forward-backward experiment: add noise up to an inversion time, denoise back (section 2.2, figures 1 and 2)."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from hierlib._finite import Watch
from hierlib._provenance import same_inputs
from hierlib._seeds import checked
from hierlib._storage import read_tensors, write_tensors
from hierlib.images.models import DiffusionModel
from hierlib.networks.progress import Progress

if TYPE_CHECKING:
    from diffusers import DDPMScheduler


class Images(Protocol):
    """Images that are there, as a tensor, or are read when they are asked for; uint8 (n, channels, size, size)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int | slice, /) -> Tensor: ...


class UTurns(NamedTuple):
    """A batch of images and what they became."""

    k: int  #: inversion after k of the respaced steps
    first: int  #: number of the first image
    start: Tensor  #: (n, channels, size, size) uint8
    end: Tensor  #: the same shape, uint8


def respaced(model: DiffusionModel, steps: int) -> tuple[DDPMScheduler, list[int]]:
    """The model's scheduler on a coarser grid of times, spaced as its option timestep_spacing says.

    Models trained here and ADM have "linspace", which is how OpenAI's `space_timesteps` spaces them.

    Returns:
        The scheduler, and the times in increasing order, times[j] the training step of the respaced index j.

    Raises:
        ValueError: more steps than the model was trained with, or fewer than 2; a number of steps for which the times
            leave out the end of the noise, as "leading" ones do unless it divides that of the training steps, or for
            which diffusers makes one time too many, as it does of some "trailing" ones.
    """
    trained = len(model.scheduler.alphas_cumprod)
    if not 2 <= steps <= trained:
        raise ValueError(f"steps: expected 2 to {trained} for {model.name}, got {steps}")
    scheduler = copy.deepcopy(model.scheduler)
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps.flip(0).tolist()
    if len(times) != steps or times[0] < 0 or not trained - trained / steps <= times[-1] < trained:
        raise ValueError(
            f"steps: expected a number of times from 0 to {trained - 1} that reach the end of the noise, got {steps}, "
            f"which makes {len(times)} from {times[0]} to {times[-1]} (timestep_spacing "
            f"{scheduler.config.timestep_spacing}, steps_offset {scheduler.config.steps_offset}); take a divisor of "
            f"{trained}"
        )
    return scheduler, times


def noised(
    model: DiffusionModel, x: Tensor, k: int, *, steps: int, matched: bool, rngs: Sequence[torch.Generator]
) -> Tensor:
    """The state after noising k of the steps, one generator an image.

    The authors' code noises to the respaced index k and denoises from k - 1, so that the network is told of slightly
    less noise than there is; k = steps is pure noise. `matched` noises to the index that denoising starts from.

    Args:
        model: on its device.
        x: (n, …) clean state, as `DiffusionModel.encode` makes it.
        k: inversion time in steps of the respaced grid, 1 … steps.
        steps: of that grid.
        matched: see above.
        rngs: n generators on the device.

    Returns:
        The state of the shape of x, float32.
    """
    _, times = respaced(model, steps)
    noise = torch.stack([torch.randn(x.shape[1:], dtype=torch.float32, generator=rng, device=x.device) for rng in rngs])
    index = k - 1 if matched else k
    if index == steps:
        return noise
    a = model.scheduler.alphas_cumprod[times[index]]
    return a.sqrt() * x + (1 - a).sqrt() * noise


@torch.inference_mode()
def denoised(
    model: DiffusionModel,
    x: Tensor,
    k: int,
    *,
    steps: int,
    rngs: Sequence[torch.Generator],
    report: Callable[[int], None] | None = None,
) -> Tensor:
    """Ancestral sampling from the respaced index k - 1 to a clean state, one generator an image.

    Args:
        model: on its device.
        x: (n, …) state after inversion time k.
        k: in steps of the respaced grid, from 1 on.
        steps: of that grid.
        rngs: n generators on the device.
        report: called with the number of steps that are done, after each.

    Returns:
        The clean state, of the shape of x.

    Raises:
        ValueError: what the network says, or the state, is not finite; the step is named.
    """
    scheduler, times = respaced(model, steps)
    watch = Watch(f"{model.name}, way back of {k} steps", _advice(model), model.dtype)
    for done, t in enumerate(reversed(times[:k]), start=1):
        said = model.output(x, t)
        x = scheduler.step(said, t, x, generator=rngs).prev_sample
        watch(f"{done} (t = {t})", said, x)  # clipping would hide an infinity of the network in the state
        if report is not None:
            report(done)
    watch.close()
    return x


def _advice(model: DiffusionModel) -> str:
    if model.dtype in (torch.float16, torch.bfloat16):
        return "run the network in float32: model.to(dtype=torch.float32), or on the CPU (--device cpu)"
    return "its weights are damaged, or they are not those of its options and its noise schedule"


def uturn(
    model: DiffusionModel,
    start: Tensor,
    k: int,
    *,
    first: int = 0,
    steps: int = 250,
    seed: int = 0,
    matched: bool = False,
    truncate: bool = False,
    report: Callable[[int], None] | None = None,
) -> Tensor:
    """What images become by inversion after k steps: forward and backward, once.

    Args:
        model: on its device.
        start: uint8 (n, channels, size, size).
        k: inversion time, 1 … steps.
        first: number of the first image; seed, k and its number decide about all noise of an image.
        steps, seed, matched, truncate: see `uturns`.
        report: called with the number of steps that are done, after each.

    Returns:
        uint8 of the shape of start, on the CPU.

    Raises:
        ValueError: as `uturns`.
    """
    rngs = [generator(model.device, seed, k, first + i) for i in range(len(start))]
    x = noised(model, model.encode(start), k, steps=steps, matched=matched, rngs=rngs)
    return model.decode(denoised(model, x, k, steps=steps, rngs=rngs, report=report), truncate=truncate).cpu()


def uturns(
    model: DiffusionModel,
    images: Images,
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
        k: inversion times, 1 … steps, in steps of the respaced grid; all are different.
        steps: of that grid; the paper has 250.
        seed: of all noise.
        batch: images at once.
        matched: see `noised`; False is what the authors' code does.
        truncate: cut to 8 bits by truncation, as the authors' code does, instead of by rounding.
        folder: one file for each k and batch is written there when it is done, and read instead of made if it exists;
            a batch of other images, another model or other options has another name.
        show: whether to show progress.

    Yields:
        `UTurns`, in the order of k, then of the images.

    Raises:
        ValueError: an argument is out of range, the images don't fit the model, a file in `folder` is damaged or of
            another run; what the network says or makes is not finite.
    """
    respaced(model, steps)
    if bad := [j for j in k if not 1 <= j <= steps]:
        raise ValueError(f"k: expected inversion times from 1 to {steps} steps, got {bad}; k = 0 would change nothing")
    if len({*k}) < len(k):
        raise ValueError(f"k: expected different inversion times, got {list(k)}")
    if batch < 1 or not len(images) or not len(k):
        raise ValueError(f"expected images, inversion times and batch ≥ 1, got {len(images)}, {len(k)} and {batch}")
    options: dict[str, Any] = dict(steps=steps, seed=seed, matched=matched, truncate=truncate)
    kept = None if folder is None else _Kept(Path(folder), model.inputs() | options)
    pace = _Pace(model.name, sum(k) * len(images), show)
    for j in k:
        for i in range(0, len(images), batch):
            start = images[i : i + batch]
            end = None if kept is None else kept.read(j, i, start)
            if end is not None:
                pace.found(len(start), j)
            else:
                end = uturn(model, start, j, first=i, **options, report=pace.making(len(start), j))
                pace.made(len(start), j)
                if kept is not None:
                    kept.write(j, i, start, end)
            yield UTurns(j, i, start, end)


class _Kept(NamedTuple):
    """Finished batches, one file each, from which a killed run goes on."""

    folder: Path
    identity: dict  #: all that decides about a batch but itself

    def read(self, k: int, first: int, start: Tensor) -> Tensor | None:
        """What a batch became, or None if it is not done.

        Raises:
            ValueError: its file is of another run.
        """
        path = self._path(k, first, start)
        if not path.exists():
            return None
        tensors, about = read_tensors(path)
        same_inputs(path, about, self._identity(k, first, start))
        return tensors["images"]

    def write(self, k: int, first: int, start: Tensor, end: Tensor) -> None:
        """Keep what a batch became."""
        write_tensors(self._path(k, first, start), {"images": end.contiguous()}, self._identity(k, first, start))

    def _identity(self, k: int, first: int, start: Tensor) -> dict:
        digest = hashlib.sha256(start.contiguous().numpy().tobytes()).hexdigest()
        return self.identity | dict(k=k, first=first, start=digest)

    def _path(self, k: int, first: int, start: Tensor) -> Path:
        word = json.dumps(self._identity(k, first, start), sort_keys=True)
        word = hashlib.sha256(word.encode()).hexdigest()[:8]
        return self.folder / f"k{k:04d}-{first:06d}-{first + len(start):06d}-{word}.safetensors"


class _Pace:
    """Progress in calls of the network; the speed in whole U-turns is of those that were made in this run."""

    def __init__(self, name: str, calls: int, show: bool):
        self.bar = Progress(name, calls, unit="network calls", show=show)
        self.finished, self.images, self.begin = 0, 0, time.monotonic()

    def making(self, n: int, k: int) -> Callable[[int], None]:
        """What is to be called with the number of finished steps of n images on their way back from k."""

        def report(step: int) -> None:
            speed = (self.images + n * step / k) / max(time.monotonic() - self.begin, 1e-9)
            self.bar.update(self.finished + n * step, f"k = {k}, {speed:.2f} images/s")

        return report

    def made(self, n: int, k: int) -> None:
        """Count a batch that was made."""
        self.finished, self.images = self.finished + n * k, self.images + n

    def found(self, n: int, k: int) -> None:
        """Count a batch that was found done."""
        self.bar.skip(n * k)
        self.finished += n * k


def forward_backward(model: DiffusionModel, images: Images, k: Sequence[int] | int, **options: Any) -> Tensor:
    """The images that come out of inversion after k steps; all of them are held in memory.

    Args:
        model, images: as for `uturns`.
        k: inversion times, or one.
        options: the others of `uturns`.

    Returns:
        uint8 (len(k), n, channels, size, size), or (n, channels, size, size) for one k.

    Raises:
        ValueError: as `uturns`.
    """
    times = [k] if isinstance(k, int) else list(k)
    ends = [u.end for u in uturns(model, images, times, **options)]
    out = torch.cat(ends).unflatten(0, (len(times), -1))
    return out[0] if isinstance(k, int) else out


def generator(device: torch.device | str, seed: int, k: int, index: int) -> torch.Generator:
    """The source of all noise of one image at one inversion time, another one for each seed.

    torch looks at 64 bits on a GPU, and at the lowest 32 on the CPU: there two images or times share their noise by
    chance once in 2^32 pairs (some pair of 6000, with probability .004).

    Args:
        device: where the noise is drawn.
        seed: of the run.
        k: inversion time.
        index: number of the image.
    """
    word = hashlib.sha256(f"0/{k}/{index}".encode()).digest()[:8]
    return torch.Generator(device).manual_seed((int.from_bytes(word, "big") >> 1) + checked(seed))
