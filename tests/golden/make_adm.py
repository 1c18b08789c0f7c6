"""Make adm.safetensors: what OpenAI's own guided-diffusion code computes, for tests/test_images_adm.py.

    git clone https://github.com/openai/guided-diffusion && PYTHONPATH=guided-diffusion python tests/golden/make_adm.py

The network is a small ADM with everything that the published one has: three resolutions, attention at two of them and
in the middle, several heads, residual up- and downsampling, scale-shift norm, learned variance. All weights are random
(also those that guided-diffusion starts at zero), integers times a power of two, so that one byte each stores them
exactly. The file holds the weights; inputs, times and outputs; steps of `p_sample` of the process respaced from 1000
to 250 steps; and forward noising `q_sample`.
"""

import json
from pathlib import Path

import torch
from guided_diffusion import gaussian_diffusion as gd
from guided_diffusion.respace import SpacedDiffusion, space_timesteps
from guided_diffusion.unet import UNetModel
from safetensors.torch import save_file

FLAGS = dict(
    image_size=32,
    num_channels=32,
    channel_mult=(1, 1, 2),
    attention_resolutions=(16, 8),
    num_head_channels=16,
    num_res_blocks=2,
)


def network() -> UNetModel:
    return UNetModel(
        image_size=FLAGS["image_size"],
        in_channels=3,
        model_channels=FLAGS["num_channels"],
        out_channels=6,
        num_res_blocks=FLAGS["num_res_blocks"],
        attention_resolutions=tuple(FLAGS["image_size"] // r for r in FLAGS["attention_resolutions"]),
        channel_mult=FLAGS["channel_mult"],
        num_head_channels=FLAGS["num_head_channels"],
        use_scale_shift_norm=True,
        resblock_updown=True,
    ).eval()


def randomise(model: UNetModel, rng: torch.Generator) -> tuple[dict, dict]:
    """Integers and the exponent of two for each weight; the model is set to them."""
    integers, exponents = {}, {}
    for name, w in model.state_dict().items():
        q = torch.randn(w.shape, generator=rng).mul(32).round().clamp(-127, 127).to(torch.int8)
        fan_in = w[0].numel() if w.ndim > 1 else 25  # vectors: norms and biases, about 0.2
        exponents[name] = round(float(torch.log2(torch.tensor(fan_in**-0.5 / 32))))
        integers[name] = q
        w.copy_(q.float() * 2.0 ** exponents[name])
        if name.endswith("in_layers.0.weight") or name.endswith("norm.weight") or name == "out.0.weight":
            w.add_(1.0)
    return integers, exponents


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(0)
    model = network()
    integers, exponents = randomise(model, rng)
    x, t = torch.randn(2, 3, 32, 32, generator=rng), torch.tensor([17, 803])
    out = {"net.x": x, "net.t": t, "net.y": model(x, t)}
    betas = gd.get_named_beta_schedule("linear", 1000)
    process = SpacedDiffusion(
        use_timesteps=space_timesteps(1000, "250"),
        betas=betas,
        model_mean_type=gd.ModelMeanType.EPSILON,
        model_var_type=gd.ModelVarType.LEARNED_RANGE,
        loss_type=gd.LossType.MSE,
    )
    out["respaced.timesteps"] = torch.tensor(process.timestep_map)
    out["respaced.alphas_cumprod"] = torch.tensor(process.alphas_cumprod)
    for k in (0, 1, 24, 124, 249):
        state, answer = (torch.randn(2, c, 8, 8, generator=rng) for c in (3, 6))
        noise = torch.randn(2, 3, 8, 8, generator=rng)
        randn_like, gd.th.randn_like = gd.th.randn_like, lambda _, noise=noise: noise
        step = process.p_sample(lambda *_, answer=answer: answer, state, torch.full((2,), k), clip_denoised=True)
        gd.th.randn_like = randn_like
        noised = process.q_sample(state, torch.full((2,), k), noise=noise)
        named = dict(state=state, answer=answer, noise=noise, previous=step["sample"], start=step["pred_xstart"])
        out |= {f"step.{k}.{name}": z for name, z in (named | {"noised": noised}).items()}
    about = dict(flags=FLAGS, exponents=exponents, weights=sum(q.numel() for q in integers.values()))
    tensors = {f"weight.{name}": q for name, q in integers.items()} | {k: z.contiguous() for k, z in out.items()}
    save_file(tensors, Path(__file__).with_name("adm.safetensors"), metadata={"about": json.dumps(about)})


if __name__ == "__main__":
    main()
