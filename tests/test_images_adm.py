"""ADM in diffusers against what OpenAI's own code computed (golden/make_adm.py tells how), and mistakes against it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hierlib.images import adm
from hierlib.images.unet import unet

GOLDEN = Path(__file__).parent / "golden" / "adm.safetensors"
TOLERANCE = 1e-5  # of the root mean square of the output


@pytest.fixture(scope="module")
def golden():
    with safe_open(GOLDEN, framework="pt") as file:
        about = json.loads(file.metadata()["about"])
        return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118


@pytest.fixture(scope="module")
def source(golden):
    """OpenAI's state dict."""
    tensors, about = golden
    out = {}
    for name, exponent in about["exponents"].items():
        w = tensors[f"weight.{name}"].float() * 2.0**exponent
        plus = name.endswith("in_layers.0.weight") or name.endswith("norm.weight") or name == "out.0.weight"
        out[name] = w + 1 if plus else w
    return out


@pytest.fixture(scope="module")
def config(golden):
    return adm.adm_config(**{k: tuple(v) if isinstance(v, list) else v for k, v in golden[1]["flags"].items()})


@torch.no_grad()
def error(network, golden) -> float:
    """Largest difference from OpenAI's output, in units of its root mean square."""
    x, t, expected = (golden[0][f"net.{key}"] for key in "xty")
    out = network(x, t, return_dict=False)[0]
    return float((out - expected).abs().max() / expected.square().mean().sqrt())


def test_network_is_openais(golden, source, config):
    assert error(adm.adm_network(source, config), golden) < TOLERANCE
    assert sum(w.numel() for w in source.values()) == golden[1]["weights"]
    assert sum(kind.startswith("Attn") for kind in config["down_block_types"]) == 2
    assert source["middle_block.1.qkv.weight"].shape[0] // (3 * config["attention_head_dim"]) == 4, "several heads"


@pytest.mark.slow
@pytest.mark.parametrize(
    "mistake",
    [
        dict(attention_head_dim=32),
        dict(attention_head_dim=8),
        dict(flip_sin_to_cos=False),
        dict(freq_shift=1),
        dict(norm_eps=1e-6),
    ],
    ids=str,
)
def test_a_mistake_in_the_configuration_that_loads_is_seen(golden, source, config, mistake):
    weights = adm.adm_to_diffusers(source, config)
    assert error(unet(config | mistake, weights), golden) > 2 * TOLERANCE


def test_a_mistake_in_the_order_of_queries_keys_and_values_is_seen(golden, source, config, monkeypatch):
    monkeypatch.setattr(adm, "split_qkv", lambda rows, _: [z.squeeze(-1) for z in rows.chunk(3)])
    assert error(adm.adm_network(source, config), golden) > 0.01


def test_swapped_blocks_are_seen(golden, source, config):
    """Two blocks of one shape, exchanged: each is loaded into its own place."""
    a, b = "output_blocks.7.0.", "output_blocks.8.0."
    swap = {k: k.replace(a, b) if k.startswith(a) else k.replace(b, a) if k.startswith(b) else k for k in source}
    assert error(adm.adm_network({swap[k]: w for k, w in source.items()}, config), golden) > 0.01


def test_another_state_dict_is_refused(source, config):
    short = {k: w for k, w in source.items() if k != "middle_block.1.norm.bias"}
    with pytest.raises(ValueError, match=r"expected a weight middle_block\.1\.norm\.bias, got none"):
        adm.adm_network(short, config)
    with pytest.raises(ValueError, match=r"got 1 more \(label_emb.weight\)"):
        adm.adm_network(source | {"label_emb.weight": torch.zeros(1000, 4)}, config)
    with pytest.raises(ValueError, match=r"got another shape for conv_out\.weight"):
        adm.adm_network(source | {"out.2.weight": torch.zeros(3, 32, 3, 3)}, config)


def test_full_size_network():
    from diffusers import UNet2DModel

    with torch.device("meta"):
        network = UNet2DModel(**adm.adm_config())
    assert sum(p.numel() for p in network.parameters()) == 552_814_086


@pytest.mark.parametrize("k", [0, 1, 24, 124, 249])
def test_a_respaced_step_is_openais(golden, k, monkeypatch):
    g = {name: golden[0][f"step.{k}.{name}"] for name in ("state", "answer", "noise", "previous", "start", "noised")}
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: g["noise"])
    scheduler = adm.adm_scheduler()
    scheduler.set_timesteps(250)
    t = int(scheduler.timesteps[249 - k])
    step = scheduler.step(g["answer"], t, g["state"])
    torch.testing.assert_close(step.pred_original_sample, g["start"], rtol=0, atol=1e-5)
    torch.testing.assert_close(step.prev_sample, g["previous"], rtol=0, atol=1e-5)
    a = scheduler.alphas_cumprod[t]
    noised = a.sqrt() * g["state"] + (1 - a).sqrt() * g["noise"]
    torch.testing.assert_close(noised, g["noised"], rtol=0, atol=1e-5)


def test_respaced_times_are_openais(golden):
    scheduler = adm.adm_scheduler()
    scheduler.set_timesteps(250)
    times = golden[0]["respaced.timesteps"]
    assert torch.equal(scheduler.timesteps.flip(0), times)
    ours = scheduler.alphas_cumprod[times]
    torch.testing.assert_close(ours, golden[0]["respaced.alphas_cumprod"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_from_a_file(golden, source, config, tmp_path, suffix):
    path = tmp_path / f"adm{suffix}"
    (torch.save if suffix == ".pt" else save_file)({k: w.contiguous() for k, w in source.items()}, path)
    model = adm.load_adm(path, config)
    assert error(model.network, golden) < TOLERANCE
    assert (model.size, model.channels, len(model.digest)) == (32, 3, 64) and model.name == "ADM 32, unconditional"
    x = golden[0]["net.x"]
    torch.testing.assert_close(model.eps(x[:1], 17), golden[0]["net.y"][:1, :3], rtol=1e-4, atol=1e-5)


def test_another_adm_by_the_json_beside_it(golden, source, tmp_path):
    path = tmp_path / "small.pt"
    torch.save(source, path)
    with pytest.raises(ValueError, match=r"small\.pt: state dict: expected"):
        adm.load_adm(path)  # it is taken for the published model
    path.with_suffix(".json").write_text(json.dumps(golden[1]["flags"]))
    assert error(adm.load_adm(path).network, golden) < TOLERANCE
    for content in ("{", "[1]", "3"):
        path.with_suffix(".json").write_text(content)
        with pytest.raises(ValueError, match=r"small\.json: expected flags of guided-diffusion as a json object, got"):
            adm.load_adm(path)


def flags(tmp_path, **change):
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(change))
    return adm.adm_flags(path)


def test_flags_of_the_command_line(golden, tmp_path):
    """Those of openai/guided-diffusion's README for the published model, and what its scripts save beside it."""
    given = dict(attention_resolutions="32,16,8", class_cond=False, diffusion_steps=1000, image_size=256)
    given |= dict(learn_sigma=True, noise_schedule="linear", num_channels=256, num_head_channels=64, num_res_blocks=2)
    given |= dict(resblock_updown=True, use_fp16=True, use_scale_shift_norm=True, channel_mult="", dropout=0.1)
    given |= dict(num_heads=4, timestep_respacing="250", rescale_timesteps=False, predict_xstart=False)
    config, scheduler = flags(tmp_path, **given)
    assert config == adm.adm_config() and torch.equal(scheduler.alphas_cumprod, adm.adm_scheduler().alphas_cumprod)
    smaller, _ = flags(tmp_path, image_size=64, channel_mult="", attention_resolutions=[16, 8])
    assert smaller["block_out_channels"] == [256, 512, 768, 1024]


def test_the_noise_schedule_of_the_flags_is_that_of_the_model(golden, source, tmp_path):
    path = tmp_path / "cosine.pt"
    torch.save(source, path, _use_new_zipfile_serialization=False)  # as torch wrote it before 1.6
    own = dict(golden[1]["flags"], noise_schedule="cosine", diffusion_steps=4000, predict_xstart=True)
    path.with_suffix(".json").write_text(json.dumps(own))
    model = adm.load_adm(path)
    bar = model.scheduler.alphas_cumprod
    cos = torch.cos((torch.tensor([0, 0.5], dtype=torch.float64) + 0.008) / 1.008 * torch.pi / 2) ** 2
    assert len(bar) == 4000 and model.scheduler.config.prediction_type == "sample"
    torch.testing.assert_close(bar[1999], cos[1] / cos[0], rtol=1e-12, atol=0)
    linear = flags(tmp_path, diffusion_steps=4000)[1]
    assert abs(float(linear.alphas_cumprod[-1].log() / adm.adm_scheduler().alphas_cumprod[-1].log()) - 1) < 0.01


@pytest.mark.parametrize(
    "change, why",
    [
        (dict(class_cond=True), "with class_cond = False, got True; take another model"),
        (dict(learn_sigma=False), "with learn_sigma = True, got False"),
        (dict(resblock_updown=False), "with resblock_updown = True, got False"),
        (dict(use_scale_shift_norm=0), "with use_scale_shift_norm = True, got 0"),
        (dict(use_new_attention_order=True), "with use_new_attention_order = False, got True"),
        (dict(noise_schedule="sqrt"), "noise_schedule: expected linear or cosine, got 'sqrt'"),
        (dict(diffusion_steps=0), "diffusion_steps: expected a number from 2 on, .* got 0"),
        (dict(diffusion_steps=4000, rescale_timesteps=True), "1000 with rescale_timesteps, got 4000"),
        (dict(predict_xstart="no"), "predict_xstart: expected true or false, got 'no'"),
        (dict(image_size="big"), "whole numbers above 0, got 'big'"),
        (dict(num_head_channels=-1), "whole numbers above 0, got -1"),
        (dict(channel_mult=[0.5, 1]), "whole numbers above 0, got 0.5"),
        (dict(channel_mult="", image_size=512), "got"),
        (dict(in_channels=1), "got .*in_channels.*; take another model"),
    ],
    ids=str,
)
def test_flags_of_another_model_are_refused(tmp_path, change, why):
    with pytest.raises(ValueError, match=rf"flags\.json: expected .*{why}"):
        flags(tmp_path, **change)
