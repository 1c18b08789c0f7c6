"""One interface for diffusion models: the small ones trained here, OpenAI's ADM, any DDPM or DDIM pipeline folder."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

import hierlib._torchvision  # noqa: F401

LINEAR = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=True)


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
    scheduler: object
    channels: int
    size: int
    fold: int = 1
    name: str = "diffusion model"
    digest: str = ""
    about: dict | None = None
    lanes: int = 0

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def to(self, device=None, dtype: torch.dtype | None = None) -> DiffusionModel:
        """The model on a device, its network in a precision (float16 on a GPU); the state stays float32."""
        # nn.Module's own `to`: that of diffusers warns of parts to keep in float32 even where there are none
        return replace(self, network=nn.Module.to(self.network, device, dtype, memory_format=torch.channels_last))

    def encode(self, images: Tensor) -> Tensor:
        """The state of clean images: uint8 (n, channels, size, size) to float32 in [-1, 1], folded.

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
        """The images of a state, uint8, rounded, or truncated as OpenAI's sampling script does."""
        pixels = nn.functional.pixel_shuffle(state.float(), self.fold)
        pixels = (pixels.clamp(-1, 1) + 1) * 127.5
        return (pixels if truncate else pixels.round()).to(torch.uint8)

    @torch.no_grad()
    def output(self, x: Tensor, t: int) -> Tensor:
        """What the network says of the state x at training step t, float32: the input of the scheduler's step."""
        weight, n = next(self.network.parameters()), len(x)
        lanes = self.lanes or n
        x = nn.functional.pad(x, (0, 0) * 3 + (0, -n % lanes)).to(weight.dtype)
        t = torch.full((lanes,), t, device=x.device)
        calls = [part.contiguous(memory_format=torch.channels_last) for part in x.split(lanes)]
        return torch.cat([self.network(part, t, return_dict=False)[0] for part in calls])[:n].float()

    def eps(self, x: Tensor, t: int) -> Tensor:
        """Predicted noise ε(x, t), float32, of a state x = √ᾱ x₀ + √(1 - ᾱ) ε at training step t."""
        out = self.output(x, t)[:, : x.shape[1]]
        a = self.scheduler.alphas_cumprod[t].to(x.device)
        kind = self.scheduler.config.prediction_type
        if kind == "v_prediction":
            return a.sqrt() * out + (1 - a).sqrt() * x
        return (x - a.sqrt() * out) / (1 - a).sqrt() if kind == "sample" else out


def exact_scheduler(**config):
    """diffusers' DDPMScheduler with β, α and ᾱ in float64, as OpenAI's code has them (5e-7 a step instead of 1e-5)."""
    from diffusers import DDPMScheduler

    with torch.device("cpu"):
        scheduler = DDPMScheduler(**config)
    c = scheduler.config
    if c.trained_betas is not None:
        betas = torch.tensor(c.trained_betas, dtype=torch.float64, device="cpu")
    elif c.beta_schedule == "linear":
        betas = torch.linspace(c.beta_start, c.beta_end, c.num_train_timesteps, dtype=torch.float64, device="cpu")
    elif c.beta_schedule == "scaled_linear":
        betas = (
            torch.linspace(c.beta_start**0.5, c.beta_end**0.5, c.num_train_timesteps, dtype=torch.float64, device="cpu")
            ** 2
        )
    else:
        betas = scheduler.betas.double()
    scheduler.betas, scheduler.alphas = betas, 1 - betas
    scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    scheduler.one = torch.ones((), dtype=torch.float64, device="cpu")
    return scheduler


def small_config(channels: int, size: int, widths: tuple[int, ...], layers: int = 1, fold: int = 2) -> dict:
    """Arguments of UNet2DModel for a small model of folded images, with attention at the coarsest resolution."""
    inside = channels * fold**2
    return dict(
        sample_size=size // fold,
        in_channels=inside,
        out_channels=inside,
        layers_per_block=layers,
        block_out_channels=list(widths),
        norm_num_groups=8,
        attention_head_dim=min(32, widths[-1]),
        down_block_types=["DownBlock2D"] * (len(widths) - 1) + ["AttnDownBlock2D"],
        up_block_types=["AttnUpBlock2D"] + ["UpBlock2D"] * (len(widths) - 1),
    )


def save(path: Path, weights: dict[str, Tensor], about: dict) -> None:
    """Write weights (float16 safetensors) and, beside them, a json that tells what they are and where from.

    Args:
        path: of the safetensors file; the json has the same stem.
        weights: a state dict; floats become float16, which must hold them.
        about: anything json; "kind" tells the loader, "sha256" is added.

    Raises:
        ValueError: a weight is too large for float16.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = {k: w.detach().cpu().half().contiguous() if w.is_floating_point() else w.cpu() for k, w in weights.items()}
    for key, w in half.items():
        if not w.isfinite().all():
            raise ValueError(f"{key}: expected weights that float16 can hold, got up to {weights[key].abs().max():.3g}")
    data = safetensors.torch.save(half)
    _replace(path, data)
    describe(path, {**about, "sha256": hashlib.sha256(data).hexdigest()})


def describe(path: Path, about: dict) -> None:
    """Write the json beside the weights at `path`, as `save` does."""
    text = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
    _replace(Path(path).with_suffix(".json"), text.encode())


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)


def load_weights(path: Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Read what `save` wrote, weights as float32.

    Raises:
        ValueError: a file is missing, damaged, of another kind, or the two do not belong together.
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
    return {k: w.float() if w.is_floating_point() else w for k, w in weights.items()}, about


def load_small(path: Path, lanes: int = 32) -> DiffusionModel:
    """A small model trained by ``python -m hierlib.images.train``: a safetensors file with its json beside it.

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
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: expected weights and a json that belong together, got {error}") from error
    shape = {key: about[key] for key in ("channels", "size", "fold")}
    record = dict(name=about["name"], digest=about["sha256"], about=about)
    return DiffusionModel(network, scheduler, **shape, **record, lanes=lanes)


def load_pipeline(folder: Path) -> DiffusionModel:
    """An unconditional DDPM or DDIM pipeline in diffusers' folder layout, such as a download of google/ddpm-cifar10-32.

    Args:
        folder: with unet/ and scheduler/ inside, or with their files side by side (the older layout).

    Raises:
        ValueError: it holds no such pipeline, or a conditional or latent one.
    """
    from diffusers import UNet2DModel

    folder = Path(folder)
    of_unet, of_scheduler = ((folder / part if (folder / part).is_dir() else folder) for part in ("unet", "scheduler"))
    try:
        config = json.loads((of_unet / "config.json").read_text("utf-8"))
        schedule = json.loads((of_scheduler / "scheduler_config.json").read_text("utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{folder}: expected a pipeline (unet/config.json, scheduler/scheduler_config.json), got {error}; "
            "give the folder that holds model_index.json"
        ) from error
    if config.get("_class_name") != "UNet2DModel" or config.get("class_embed_type") or config.get("num_class_embeds"):
        raise ValueError(
            f"{folder}: expected an unconditional UNet2DModel on pixels, got {config.get('_class_name')}"
            f"{' with class labels' if config.get('_class_name') == 'UNet2DModel' else ''}; take another model"
        )
    files = [f for f in of_unet.iterdir() if f.name.startswith("diffusion_pytorch_model.")]
    chosen = sorted(files, key=lambda f: f.suffix != ".safetensors")[:1]
    if not chosen:
        raise ValueError(f"{of_unet}: expected diffusion_pytorch_model.safetensors, got no weights; download them")
    try:  # diffusers reads other files than safetensors with weights_only=True
        with torch.device("cpu"):
            network = UNet2DModel.from_pretrained(of_unet, use_safetensors=chosen[0].suffix == ".safetensors")
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{chosen[0]}: expected the weights of config.json, got {first}; copy it again") from error
    known = {k: v for k, v in schedule.items() if not k.startswith("_") and k in _scheduler_arguments()}
    scheduler = exact_scheduler(**known | {"timestep_spacing": "linspace"})
    size = network.config.sample_size
    size = size if isinstance(size, int) else size[0]
    digest = hashlib.sha256(chosen[0].read_bytes()).hexdigest()
    return DiffusionModel(
        network.eval(), scheduler, network.config.in_channels, size, name=folder.name, digest=digest, about=config
    )


def unet(config: dict, weights: dict[str, Tensor] | None = None) -> nn.Module:
    """diffusers.UNet2DModel of a configuration, with the given weights, loaded strictly, or with random ones."""
    from diffusers import UNet2DModel

    if weights is None:
        with torch.device("cpu"):
            return UNet2DModel(**config)
    with torch.device("meta"):
        network = UNet2DModel(**config)
    network.load_state_dict(weights, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _scheduler_arguments() -> set[str]:
    import inspect

    from diffusers import DDPMScheduler

    return set(inspect.signature(DDPMScheduler.__init__).parameters) - {"self"}
