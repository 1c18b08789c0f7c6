"""One interface for diffusion models: the small ones trained here, OpenAI's ADM, any DDPM or DDIM pipeline folder."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

import hierlib._torchvision  # noqa: F401
from hierlib._files import write_bytes, write_text
from hierlib._finite import all_finite, finite, precision
from hierlib._provenance import sha256_of_tensors
from hierlib.images.pipeline import read_pipeline, side
from hierlib.images.schedule import exact_scheduler
from hierlib.images.unet import small_config, unet

if TYPE_CHECKING:
    from diffusers import DDPMScheduler


def placed(network: nn.Module, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> nn.Module:
    """A network on a device, in a precision, with its channels last in memory, where convolutions are faster."""
    # nn.Module's own `to`: that of diffusers warns of parts to keep in float32 even where there are none
    return nn.Module.to(network, device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]


@dataclass(frozen=True)
class DiffusionModel:
    """A network that denoises images, with its noise schedule.

    Attributes:
        network: diffusers.UNet2DModel, unconditional.
        scheduler: diffusers.DDPMScheduler of the training steps, with float64 ᾱ.
        channels, size: of the images, uint8 outside and in [-1, 1] inside.
        fold: blocks of fold × fold pixels are channels inside the network (pixel-unshuffle).
        name: what it is, for figures and for the record of a run.
        digest: sha256 of the weights' file, or "" if they are not from a file.
        about: what its file says about its training.
        lanes: the network is called with exactly this many images, the last of them padding if need be; matrix
            products round differently for every batch size, so only then does an image not depend on how many are
            done with it, to the last bit. 0: with as many as there are.
    """

    network: nn.Module
    scheduler: DDPMScheduler
    channels: int
    size: int
    fold: int = 1
    name: str = "diffusion model"
    digest: str = ""
    about: dict | None = None
    lanes: int = 0

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type that the network computes in."""
        return next(self.network.parameters()).dtype

    def inputs(self) -> dict:
        """What of the model decides about its samples, json: weights by digest, noise schedule, device, precision.

        Also the options of its network, as for the same weights there may be others (heads, groups, activation). They
        are left out if they are the usual ones of its channels and levels, those of `small_config`.
        """
        usual = {k: p.default for k, p in inspect.signature(type(self.scheduler).__init__).parameters.items()}
        schedule = {k: v for k, v in self.scheduler.config.items() if k in usual and v != usual[k]}
        facts = dict(
            model=self.name,
            digest=self.digest or sha256_of_tensors(self.network.state_dict()),
            schedule=json.loads(json.dumps(schedule, sort_keys=True, default=str)),
            device=self.device.type,
            precision=precision(self.dtype),
        )
        config: Mapping[str, Any] = getattr(self.network, "config", {})
        network = json.loads(json.dumps({k: v for k, v in sorted(config.items()) if not k.startswith("_")}))
        return facts if self._has_usual(network) else facts | {"network": network}

    def _has_usual(self, network: Mapping[str, Any]) -> bool:
        """Whether these options of the network are the usual ones."""
        if not network:
            return True
        widths, layers = tuple(network["block_out_channels"]), network["layers_per_block"]
        small = small_config(self.channels, self.size, widths, layers, self.fold)
        defaults = {k: p.default for k, p in inspect.signature(type(self.network).__init__).parameters.items()}
        usual = json.loads(json.dumps({k: v for k, v in (defaults | small).items() if k in network}))
        return usual == network

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> DiffusionModel:
        """The model on a device, its network in a precision; the state stays float32.

        Args:
            device: where the network goes; as it is if not given.
            dtype: what it computes in; float16 does on a GPU, bfloat16 is eight times less exact.

        Returns:
            A model of its own, with the network of this one, which is moved.
        """
        return replace(self, network=placed(self.network, device, dtype))

    def encode(self, images: Tensor) -> Tensor:
        """The state of clean images, on the device of the network.

        Args:
            images: uint8 (n, channels, size, size).

        Returns:
            float32 (n, channels · fold², size / fold, size / fold) in [-1, 1].

        Raises:
            ValueError: shape or type differ.
        """
        shape = (self.channels, self.size, self.size)
        if images.dtype != torch.uint8 or images.shape[1:] != shape:
            raise ValueError(
                f"images: expected uint8 of shape (n, {', '.join(map(str, shape))}) for {self.name}, got "
                f"{images.dtype} {tuple(images.shape)}; resize or convert them"
            )
        return nn.functional.pixel_unshuffle(images.to(self.device).float() / 127.5 - 1, self.fold)

    def decode(self, state: Tensor, *, truncate: bool = False) -> Tensor:
        """The images of a state.

        Args:
            state: (n, channels · fold², size / fold, size / fold); what is outside [-1, 1] is black or white.
            truncate: cut to 8 bits, as OpenAI's sampling script does, instead of rounding.

        Returns:
            uint8 (n, channels, size, size).

        Raises:
            ValueError: the state is not finite.
        """
        finite(state, f"state of {self.name}", "nothing can be shown of it; see which step made it")
        pixels = nn.functional.pixel_shuffle(state.float(), self.fold)
        pixels = (pixels.clamp(-1, 1) + 1) * 127.5
        return (pixels if truncate else pixels.round()).to(torch.uint8)

    @torch.no_grad()
    def output(self, x: Tensor, t: int) -> Tensor:
        """What the network says of a state: the input of the scheduler's step.

        Args:
            x: (n, …) state.
            t: training step, 0 … number of steps - 1.

        Returns:
            float32, with the channels of x, or twice as many of a network that learnt the variance; perhaps not finite.
        """
        n = len(x)
        lanes = self.lanes or n
        x = nn.functional.pad(x, (0, 0) * 3 + (0, -n % lanes)).to(self.dtype)
        times = torch.full((lanes,), t, device=x.device)
        calls = [part.contiguous(memory_format=torch.channels_last) for part in x.split(lanes)]
        return torch.cat([self.network(part, times, return_dict=False)[0] for part in calls])[:n].float()

    def eps(self, x: Tensor, t: int) -> Tensor:
        """Predicted noise ε(x, t) of a state x = √ᾱ x₀ + √(1 - ᾱ) ε, whatever the network predicts.

        Args:
            x: (n, …) state.
            t: training step, 0 … number of steps - 1.

        Returns:
            float32 of the shape of x.
        """
        out = self.output(x, t)[:, : x.shape[1]]
        a = self.scheduler.alphas_cumprod[t].to(x.device)
        kind = self.scheduler.config.prediction_type
        if kind == "v_prediction":
            return a.sqrt() * out + (1 - a).sqrt() * x
        return (x - a.sqrt() * out) / (1 - a).sqrt() if kind == "sample" else out


def save(path: Path, weights: Mapping[str, Tensor], about: Mapping) -> None:
    """Write weights (float16 safetensors) and, beside them, a json that tells what they are and where from.

    Args:
        path: of the safetensors file; the json has the same stem.
        weights: a state dict; floats become float16, which must hold them.
        about: anything json; "kind" tells the loader, "sha256" is added.

    Raises:
        ValueError: a weight is too large for float16.
    """
    path = Path(path)
    half = {k: w.detach().cpu().half().contiguous() if w.is_floating_point() else w.cpu() for k, w in weights.items()}
    for key, w in half.items():
        if not w.isfinite().all():
            raise ValueError(f"{key}: expected weights that float16 can hold, got up to {weights[key].abs().max():.3g}")
    data = safetensors.torch.save(half)
    write_bytes(path, data)
    describe(path, {**about, "sha256": hashlib.sha256(data).hexdigest()})


def describe(path: Path, about: Mapping) -> None:
    """Write the json beside the weights at `path`, as `save` does."""
    text = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
    write_text(Path(path).with_suffix(".json"), text)


def load_weights(path: Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Read what `save` wrote, weights as float32.

    Raises:
        ValueError: a file is missing, damaged, of another kind, or the two do not belong together; a weight is not
            finite.
    """
    path = Path(path)
    description = path.with_suffix(".json")
    for file in (path, description):
        if not file.is_file():
            raise ValueError(f"{file}: expected a {kind} written by hierlib.images, got nothing there; check the path")
    try:
        about, data = json.loads(description.read_text("utf-8")), path.read_bytes()
        if about["kind"] != kind:
            raise ValueError(f"{path}: expected a {kind}, got a {about['kind']}; give the other file")
        if hashlib.sha256(data).hexdigest() != about["sha256"]:
            raise ValueError(f"{path}: expected the sha256 in {description.name}, got another; copy both files again")
        weights = safetensors.torch.load(data)
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a {kind} written by hierlib.images, got {error!r}") from error
    all_finite({f"{path}: weight {name}": w for name, w in weights.items()}, "train it again")
    return {k: w.float() if w.is_floating_point() else w for k, w in weights.items()}, about


def load_small(path: Path, lanes: int = 32) -> DiffusionModel:
    """A small model trained by `hierlib train diffusion`: a safetensors file with its json beside it.

    Args:
        path: of the safetensors file.
        lanes: images that the network is called with, see `DiffusionModel`.

    Raises:
        ValueError: the files are missing or damaged.
    """
    weights, about = load_weights(path, "diffusion model")
    try:
        network = unet(about["network"], weights)
        scheduler = exact_scheduler(**about["scheduler"])
        shape = {key: about[key] for key in ("channels", "size", "fold")}
        record = dict(name=about["name"], digest=about["sha256"], about=about)
        inside = shape["channels"] * shape["fold"] ** 2
        if (network.config.in_channels, network.config.sample_size * shape["fold"]) != (inside, shape["size"]):
            raise ValueError(f"a network of other images than {shape}")
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: expected weights and a json that belong together, got {error}") from error
    return DiffusionModel(network, scheduler, **shape, **record, lanes=lanes)


def load_pipeline(folder: Path) -> DiffusionModel:
    """An unconditional DDPM or DDIM pipeline in diffusers' folder layout, such as a download of google/ddpm-cifar10-32.

    What the folder says is taken whole or not at all, see `hierlib.images.pipeline`. A DDIM pipeline runs as the DDPM
    of its schedule, as the way back is the random one here.

    Args:
        folder: with unet/ and scheduler/ inside, or with their files side by side (the older layout).

    Returns:
        `DiffusionModel` on the CPU, float32. Where the folder has the weights in full precision these are taken, a
        safetensors file before others; else those in half precision, which the model's name then says.

    Raises:
        ValueError: it holds no such pipeline, or one of another kind, which is named; an option is not understood; a
            weight is missing, has no place or is not finite. Nothing in a file is executed.
    """
    network, scheduler, digest, about = read_pipeline(folder)
    name = Path(folder).resolve().name + (f" ({about['variant']})" if about["variant"] else "")
    c = network.config
    return DiffusionModel(network, scheduler, c.in_channels, side(c), name=name, digest=digest, about=about)
