"""ADM in diffusers against what OpenAI's own code computed (golden/make_adm.py tells how), and mistakes against it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hierlib.images import adm, models

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
    assert error(models.unet(config | mistake, weights), golden) > 2 * TOLERANCE


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
    with pytest.raises(ValueError, match="expected the shapes of the configured model"):
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
    for content in ("{", "[1]", '{"dropout": 0}', '{"image_size": "big"}'):
        path.with_suffix(".json").write_text(content)
        with pytest.raises(
            ValueError, match=r"small\.json: expected arguments of hierlib.images.adm.adm_config as json"
        ):
            adm.load_adm(path)
