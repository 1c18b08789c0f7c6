"""Folders that diffusers wrote: a DDPM or DDIM runs as its own files say, any other kind is refused by its name."""

import hashlib
import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import hierlib._torchvision  # noqa: F401
from hierlib.images import models, sampler
from tests.pipelines import net, reweigh, rewrite, saved
from tests.test_images_models import Bomb

from diffusers import (  # isort: skip
    CMStochasticIterativeScheduler,
    ConsistencyModelPipeline,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMPipeline,
    PNDMScheduler,
    ScoreSdeVePipeline,
    ScoreSdeVeScheduler,
    VQModel,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def state(n=2, channels=3):
    return torch.randn(n, channels, 8, 8, generator=torch.Generator().manual_seed(0))


def latent(folder):
    from diffusers.pipelines.deprecated.latent_diffusion_uncond.pipeline_latent_diffusion_uncond import LDMPipeline

    decoder = VQModel(block_out_channels=(8,), norm_num_groups=4)
    return saved(folder, DDIMScheduler(), LDMPipeline, vqvae=decoder)


def without_index(folder):
    (latent(folder) / "model_index.json").unlink()
    return folder


def score_based(folder):
    return saved(folder, ScoreSdeVeScheduler(), ScoreSdeVePipeline, unet=net(time_embedding_type="fourier"))


def preserving(folder):
    from diffusers.schedulers.deprecated.scheduling_sde_vp import ScoreSdeVpScheduler

    return relabelled(folder, ScoreSdeVpScheduler)


def karras(folder):
    from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler

    return relabelled(folder, KarrasVeScheduler)


def relabelled(folder, scheduler):
    """Where diffusers keeps a kind it can no longer save whole: its own scheduler in a pipeline's folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        scheduler().save_pretrained(saved(folder, DDPMScheduler()) / "scheduler")
    rewrite(folder / "model_index.json", scheduler=["diffusers", scheduler.__name__])
    return folder


KINDS = {
    "variance-exploding": (score_based, "ScoreSdeVePipeline: a score-based model .variance-exploding SDE"),
    "variance-preserving": (preserving, "ScoreSdeVpScheduler: a score-based model .variance-preserving SDE"),
    "EDM": (lambda f: saved(f, EDMEulerScheduler()), "EDMEulerScheduler: an EDM, whose network is told σ"),
    "Karras": (karras, "KarrasVeScheduler: an EDM"),
    "consistency": (
        lambda f: saved(f, CMStochasticIterativeScheduler(), ConsistencyModelPipeline),
        "ConsistencyModelPipeline: a consistency model",
    ),
    "latent": (latent, "LDMPipeline: a latent diffusion model"),
    "latent, no index": (without_index, "a UNet with vqvae beside it: a latent diffusion model"),
    "flow": (
        lambda f: saved(f, FlowMatchEulerDiscreteScheduler()),
        "FlowMatchEulerDiscreteScheduler: a flow-matching model",
    ),
    "PNDM": (lambda f: saved(f, PNDMScheduler(), PNDMPipeline), r"PNDMPipeline: .* DDPMScheduler\.from_config"),
    "classes": (lambda f: saved(f, DDPMScheduler(), unet=net(num_class_embeds=3)), "UNet2DModel with class labels"),
    "noise levels": (
        lambda f: saved(f, DDPMScheduler(), unet=net(time_embedding_type="fourier")),
        "a score-based network, which is told a noise level",
    ),
    "channels": (
        lambda f: saved(f, DDPMScheduler(), unet=net(in_channels=4, out_channels=4)),
        "a network of 4 channels, which are no grey or colour images",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_are_refused_by_their_names(tmp_path, kind):
    make, named = KINDS[kind]
    expected = f"expected an unconditional DDPM or DDIM pipeline with a UNet2DModel on pixels, got {named}"
    with pytest.raises(ValueError, match=expected):
        models.load_pipeline(make(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    "file, change, why",
    [
        ("model_index.json", dict(_class_name="OurPipeline"), "got OurPipeline; take another model"),
        ("model_index.json", dict(scheduler=["ours", "DDPMScheduler"]), "got ours.DDPMScheduler in model_index"),
        ("model_index.json", dict(unet=["ours", "UNet2DModel"]), "got ours.UNet2DModel; take another"),
        ("scheduler/scheduler_config.json", dict(_class_name=None), "got a scheduler without a name"),
        ("scheduler/scheduler_config.json", dict(_class_name="DDIMScheduler"), "DDPMScheduler in model_index.json"),
        ("scheduler/scheduler_config.json", dict(loss_weights=3), "loss_weights: expected an option of diffusers'"),
        ("scheduler/scheduler_config.json", dict(beta_end="0.02"), "beta_end: expected a number as 0.02, got '0.02'"),
        ("scheduler/scheduler_config.json", dict(variance_type="learned_range"), "out_channels: expected 6 with"),
        ("scheduler/scheduler_config.json", dict(predict_epsilon=False, prediction_type="epsilon"), "which differ"),
        ("unet/config.json", dict(_class_name="UNet2DConditionModel"), "UNet2DConditionModel: a model conditioned on"),
        ("unet/config.json", dict(scale_by_time=True), "scale_by_time = True in config.json, which UNet2DModel has no"),
        ("unet/config.json", dict(norm_eps="1e-5"), "norm_eps = '1e-5' in config.json, where a number as 1e-05 is"),
        ("unet/config.json", dict(norm_eps=-1e-5), "norm_eps = -1e-05 in config.json, where a number above 0 is"),
        ("unet/config.json", dict(flip_sin_to_cos="no"), "flip_sin_to_cos = 'no' in config.json, where true or false"),
        ("scheduler/scheduler_config.json", dict(clip_sample_range=-1.0), "clip_sample_range: expected a number above"),
        ("unet/config.json", dict(sample_size=[8, 16]), r"sample_size: expected one number, .* got \[8, 16\]"),
        ("unet/config.json", dict(sample_size=None), "sample_size: expected one number, .* got None"),
        ("unet/config.json", dict(sample_size=9), "a multiple of 2, got 9"),
        ("unet/config.json", dict(block_out_channels=[8, 16, 32]), "Must provide the same number"),
        ("unet/config.json", dict(down_block_types=["KDownBlock2D", "DownBlock2D"]), "blocks KDownBlock2D in"),
        ("unet/config.json", dict(out_channels=6), "out_channels: expected 3 with variance_type fixed_small, got 6"),
        (
            "unet/config.json",
            dict(time_embedding_type="learned", num_train_timesteps=10),
            "num_train_timesteps: expected 1000 as in scheduler_config.json, got 10",
        ),
    ],
    ids=lambda x: ", ".join(x) if isinstance(x, dict) else "",
)  # fmt: skip
def test_what_is_not_understood_is_named(tmp_path, file, change, why):
    saved(tmp_path, DDPMScheduler())
    rewrite(tmp_path / file, **change)
    with pytest.raises(ValueError, match=why):
        models.load_pipeline(tmp_path)


def test_no_pipeline(tmp_path):
    with pytest.raises(ValueError, match=r"expected a pipeline .* give the folder that holds model_index.json"):
        models.load_pipeline(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"got config\.json with list inside"):
        models.load_pipeline(tmp_path)


SCHEDULES = {
    "defaults": DDPMScheduler(),
    "DDIM": DDIMScheduler(beta_schedule="scaled_linear", num_train_timesteps=100, steps_offset=1),
    "cosine v": DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample_range=2.0),
    "sigmoid x": DDPMScheduler(beta_schedule="sigmoid", prediction_type="sample", variance_type="fixed_large"),
    "given": DDPMScheduler(num_train_timesteps=5, trained_betas=[0.1, 0.2, 0.3, 0.4, 0.5], clip_sample=False),
    "no signal": DDPMScheduler(
        rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing"
    ),
    "no signal, DDIM": DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="sample"),
    "thresholds": DDPMScheduler(thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=3.0),
    "logarithm": DDPMScheduler(variance_type="fixed_small_log", beta_start=0.001, beta_end=0.01),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULES)
def test_it_runs_with_its_own_schedule(tmp_path, name):
    """The way back of the model is that of diffusers' own DDPMScheduler with all options of the file."""
    own = SCHEDULES[name]
    model = models.load_pipeline(saved(tmp_path, own, DDIMPipeline if isinstance(own, DDIMScheduler) else DDPMPipeline))
    ours = model.scheduler.alphas_cumprod
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours.float(), own.alphas_cumprod, rtol=2e-4, atol=1e-7)
    taken = json.loads(json.dumps(dict(model.scheduler.config)))
    options = {k: v for k, v in own.config.items() if k in taken and not k.startswith("_")}
    assert taken.items() >= json.loads(json.dumps(options)).items()
    steps = min(5, len(ours))
    theirs = DDPMScheduler(**options)
    theirs.set_timesteps(steps)
    scheduler, times = sampler.respaced(model, steps)
    assert times == theirs.timesteps.flip(0).tolist()
    x = state()
    for t in reversed(times):
        said = net()(x, t, return_dict=False)[0]
        steps_of = [
            each.step(out, t, x, generator=torch.Generator().manual_seed(t)).prev_sample
            for each, out in ((scheduler, model.output(x, t)), (theirs, said))
        ]
        torch.testing.assert_close(*steps_of, rtol=1e-3, atol=2e-3)
        x = steps_of[1].detach()


def test_no_signal_means_none(tmp_path):
    own = DDPMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="linspace")
    model = models.load_pipeline(saved(tmp_path, own))
    assert model.scheduler.alphas_cumprod[-1] == 0
    black, white = (torch.full((1, 3, 8, 8), grey, dtype=torch.uint8) for grey in (0, 255))
    options = dict(steps=4, show=False)
    ends = [sampler.forward_backward(model, x, 4, **options) for x in (black, white)]
    assert torch.equal(*ends), "nothing of the start is left"
    rewrite(tmp_path / "scheduler" / "scheduler_config.json", prediction_type="epsilon")
    with pytest.raises(ValueError, match="rescale_betas_zero_snr: expected prediction_type v_prediction or sample"):
        models.load_pipeline(tmp_path)


@pytest.mark.parametrize("steps", [7, 300])
def test_times_that_leave_out_the_noise_are_refused(tmp_path, steps):
    """Spaced "leading", 300 steps of 1000 end at 897."""
    model = models.load_pipeline(saved(tmp_path, DDPMScheduler()))
    with pytest.raises(ValueError, match=r"that reach the end of the noise, got .* take a divisor of 1000"):
        sampler.respaced(model, steps)
    assert sampler.respaced(model, 250)[1][-1] == 996


def test_a_time_too_many_is_refused(tmp_path):
    """Spaced "trailing", diffusers makes 62 times of 61, the last -1, which is the noisiest ᾱ of all."""
    model = models.load_pipeline(saved(tmp_path, DDPMScheduler(timestep_spacing="trailing")))
    with pytest.raises(ValueError, match="got 61, which makes 62 from -1 to 999"):
        sampler.respaced(model, 61)
    assert sampler.respaced(model, 62)[1][0] > 0


CHANGED = {
    "integers": (
        lambda w: w | {"conv_in.bias": w["conv_in.bias"].to(torch.int8)},
        r"unet: .* integers where floats are expected for conv_in\.bias",
    ),
    "complex": (
        lambda w: w | {"conv_in.bias": w["conv_in.bias"].to(torch.complex64)},
        r"unet: .* complex numbers where floats are expected for conv_in\.bias",
    ),
    "one is missing": (lambda w: {k: x for k, x in w.items() if k != "conv_in.bias"}, r"got none for conv_in\.bias"),
    "all have a prefix": (
        lambda w: {f"module.{k}": x for k, x in w.items()},
        r"got none for conv_in.weight .and \d+ more., no place for module\.\S+ .and",
    ),
    "another shape": (lambda w: w | {"conv_out.bias": torch.zeros(4)}, r"got another shape for conv_out\.bias"),
    "one too many": (lambda w: w | {"ema.decay": torch.ones(1)}, r"got no place for ema\.decay"),
    "nan": (lambda w: w | {"conv_out.bias": torch.tensor([0, torch.nan, 0])}, r"conv_out\.bias: expected finite"),
    "infinity": (
        lambda w: w | {"conv_in.bias": (w["conv_in.bias"].half() + 1e5).half()},
        r"weight conv_in\.bias: expected finite numbers, got inf .8 of 8 are not finite",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGED)
def test_weights_that_are_not_the_networks(tmp_path, case):
    change, why = CHANGED[case]
    reweigh(saved(tmp_path, DDPMScheduler()), change)
    with pytest.raises(ValueError, match=why):
        models.load_pipeline(tmp_path)


def sha(*paths):
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


@pytest.mark.parametrize("order", [False, True], ids=["as sorted", "the other way"])
def test_variants(tmp_path, monkeypatch, order):
    """The plain weights are loaded and theirs is the digest, however the file system lists the files."""
    saved(tmp_path, DDPMScheduler())
    for seed, variant in ((1, "fp16"), (2, "non_ema")):
        net(seed).save_pretrained(tmp_path / "unet", variant=variant)
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(listed(self), reverse=order)))
    plain = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    model = models.load_pipeline(tmp_path)
    assert model.digest == sha(plain) and model.name == tmp_path.name
    torch.testing.assert_close(model.output(state(), 5), net()(state(), 5).sample.detach())
    plain.unlink()
    model = models.load_pipeline(tmp_path)
    half = tmp_path / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    assert model.digest == sha(half) and model.name == f"{tmp_path.name} (fp16)" and model.about["variant"] == "fp16"
    torch.testing.assert_close(model.output(state(), 5), net(1)(state(), 5).sample.detach())
    half.unlink()
    with pytest.raises(ValueError, match=r"got diffusion_pytorch_model\.non_ema\.safetensors only, which may be other"):
        models.load_pipeline(tmp_path)


def test_shards(tmp_path):
    saved(tmp_path, DDPMScheduler())
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    net().save_pretrained(tmp_path / "unet", max_shard_size="30KB")
    shards = sorted((tmp_path / "unet").glob("*.safetensors"))
    assert len(shards) > 1
    model = models.load_pipeline(tmp_path)
    torch.testing.assert_close(model.output(state(), 5), net()(state(), 5).sample.detach())
    assert model.digest == sha(*shards)
    net(1).save_pretrained(tmp_path / "more")
    other = (tmp_path / "more" / "diffusion_pytorch_model.safetensors").rename(
        tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    )
    with pytest.raises(
        ValueError, match=r"expected one set of weights, got .*\.safetensors and .*index\.json; move one"
    ):
        models.load_pipeline(tmp_path)
    other.unlink()
    index = next((tmp_path / "unet").glob("*.index.json"))
    good = json.loads(index.read_text())
    for change, why in (
        (dict.fromkeys(good["weight_map"], "../x"), "shards that are no files beside it"),
        (dict(list(good["weight_map"].items())[1:]), "expected what .* says, got .* as well"),
        (good["weight_map"] | {"a": "diffusion_pytorch_model-9.safetensors"}, "expected a shard of the weights"),
    ):  # fmt: skip
        rewrite(index, weight_map=change)
        with pytest.raises(ValueError, match=why):
            models.load_pipeline(tmp_path)
    rewrite(index, weight_map=None)
    with pytest.raises(ValueError, match="expected the index of shards, got KeyError"):
        models.load_pipeline(tmp_path)


def test_of_another_age(tmp_path):
    """Files side by side, an option of 2022, torch's format before 1.6, and the old names of the parts of attention."""
    saved(tmp_path, DDPMScheduler())
    for path in [*(tmp_path / "unet").iterdir(), *(tmp_path / "scheduler").iterdir()]:
        path.rename(tmp_path / path.name)
    for folder in ("unet", "scheduler"):
        (tmp_path / folder).rmdir()
    rewrite(tmp_path / "scheduler_config.json", prediction_type=None, predict_epsilon=False, tensor_format="pt")
    plain = tmp_path / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(plain)
    for new, name in old.items():
        weights = {k.replace(f".{new}.", f".{name}."): w for k, w in weights.items()}
    assert sum("proj_attn" in k for k in weights) == 8
    torch.save(weights, tmp_path / "diffusion_pytorch_model.bin", _use_new_zipfile_serialization=False)
    plain.unlink()
    model = models.load_pipeline(tmp_path)
    torch.testing.assert_close(model.output(state(), 5), net()(state(), 5).sample.detach())
    assert model.scheduler.config.prediction_type == "sample"
    assert model.digest == sha(tmp_path / "diffusion_pytorch_model.bin")


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_files_that_are_no_weights(tmp_path, suffix):
    plain = saved(tmp_path, DDPMScheduler()) / "unet" / "diffusion_pytorch_model.safetensors"
    path = plain.with_suffix(f".{suffix}")
    good = load_file(plain)
    plain.unlink()
    with pytest.raises(ValueError, match="got no weights; download it"):
        models.load_pipeline(tmp_path)
    cases = {b"cut": "got", b"": "got"}
    if suffix == "bin":
        for what, why in (
            (Bomb(), "of which nothing was executed"),
            ({"ema": good}, "got dict of ema"),
        ):
            torch.save(what, path)
            cases[path.read_bytes()] = why
    else:
        save_file(good, path)
        cases[path.read_bytes()[:-9]] = "compare its digest with the publisher's"
    for content, why in cases.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"expected the weights of config.json, .*{why}"):
            models.load_pipeline(tmp_path)


def test_what_tells_two_models_apart(tmp_path):
    """The same file of weights is another model with another schedule, other heads or in another precision."""
    saved(tmp_path, DDPMScheduler())
    first = models.load_pipeline(tmp_path)
    assert first.inputs() == models.load_pipeline(tmp_path).inputs()
    assert first.to(dtype=torch.bfloat16).inputs()["precision"] == "bfloat16"
    first = models.load_pipeline(tmp_path).inputs()
    for file, change, key in (
        ("scheduler/scheduler_config.json", dict(variance_type="fixed_large"), "schedule"),
        ("unet/config.json", dict(attention_head_dim=4), "network"),
    ):
        rewrite(tmp_path / file, **change)
        other = models.load_pipeline(tmp_path).inputs()
        assert other["digest"] == first["digest"] and other[key] != first[key]
