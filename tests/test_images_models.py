"""Models from files: what was saved is what is loaded, nothing is executed, every wrong file is named."""

import json

import pytest
import torch

from hierlib.images import adm, classifier, models
from tests.test_images_sampler import CONFIG, images, small

STEPS = dict(models.LINEAR, prediction_type="v_prediction", timestep_spacing="linspace", variance_type="fixed_small")
ABOUT = dict(kind="diffusion model", name="little", network=CONFIG, scheduler=STEPS, channels=1, size=8, fold=2)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "little.safetensors"
    models.save(path, small().network.state_dict(), ABOUT)
    return path


def test_saved_and_loaded_is_the_same_in_half_precision(saved):
    model, x = models.load_small(saved), small().encode(images(3))
    exact = small()
    exact.network.load_state_dict({k: w.half().float() for k, w in exact.network.state_dict().items()})
    torch.testing.assert_close(model.output(x, 300), exact.output(x, 300), rtol=1e-4, atol=1e-5)
    assert model.about["sha256"] == model.digest and model.name == "little" and model.fold == 2
    assert not list(saved.parent.glob("*.part"))
    assert saved.stat().st_size < 2.2 * sum(w.numel() for w in exact.network.state_dict().values()) + 20_000


def test_schedule_is_float64_and_that_of_its_definition():
    scheduler = models.exact_scheduler(**STEPS)
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    assert scheduler.alphas_cumprod.dtype == torch.float64
    torch.testing.assert_close(scheduler.alphas_cumprod[-1], torch.exp(torch.log1p(-beta).sum()), rtol=1e-12, atol=0)
    for kind in ("scaled_linear", "squaredcos_cap_v2"):
        ours = models.exact_scheduler(num_train_timesteps=50, beta_schedule=kind)
        theirs = type(ours)(num_train_timesteps=50, beta_schedule=kind)
        torch.testing.assert_close(ours.alphas_cumprod.float(), theirs.alphas_cumprod, rtol=1e-4, atol=1e-7)
    given = models.exact_scheduler(num_train_timesteps=3, trained_betas=[0.1, 0.2, 0.3])
    torch.testing.assert_close(given.alphas_cumprod, torch.tensor([0.9, 0.72, 0.504], dtype=torch.float64))


def rewrite(path, **change):
    path.with_suffix(".json").write_text(json.dumps(json.loads(path.with_suffix(".json").read_text()) | change))


def test_any_model_by_its_kind(saved):
    model = adm.load_model("small", saved, device="cpu")
    x = model.encode(images(2))
    assert torch.equal(model.output(x, 5), models.load_small(saved).output(x, 5)) and model.lanes == 32
    with pytest.raises(ValueError, match="model: expected one of small, adm256, pipeline, got 'big'"):
        adm.load_model("big", saved)


WRONG = {
    "no weights": (lambda p: p.unlink(), r"little\.safetensors: expected a diffusion model .* got nothing there"),
    "no json": (
        lambda p: p.with_suffix(".json").unlink(),
        r"little\.json: expected a diffusion model .* nothing there",
    ),
    "classifier": (lambda p: rewrite(p, kind="classifier"), "expected a diffusion model, got a classifier"),
    "other weights": (
        lambda p: p.write_bytes(p.read_bytes()[:-9] + b"123456789"),
        "expected the sha256 in little.json",
    ),
    "not json": (lambda p: p.with_suffix(".json").write_text("{"), "expected a diffusion model written by"),
    "other network": (lambda p: rewrite(p, network=models.small_config(1, 8, (8, 24))), "that belong together"),
    "no size": (lambda p: rewrite(p, scheduler={"steps": 3}), "that belong together"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_named(saved, case):
    spoil, why = WRONG[case]
    spoil(saved)
    with pytest.raises(ValueError, match=why):
        models.load_small(saved)


def test_weights_too_large_for_half_precision_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a: expected weights that float16 can hold, got up to 1e\+05"):
        models.save(tmp_path / "x.safetensors", {"a": torch.tensor([1e5])}, {"kind": "classifier"})


def test_classifier_saved_and_loaded(tmp_path):
    network = classifier.ImageCNN(1, 5, width=8).eval()
    path = tmp_path / "cnn.safetensors"
    models.save(path, network.state_dict(), dict(kind="classifier", network=network.config))
    again, about = classifier.load_classifier(path)
    x = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(again(x), network(x), rtol=0.01, atol=0.01)
    assert classifier.classify(again, images(4)).shape == (4,) and about["kind"] == "classifier"
    rewrite(path, network=dict(network.config, width=9))
    with pytest.raises(ValueError, match="that belong together"):
        classifier.load_classifier(path)


@pytest.mark.parametrize("layout", ["folders", "side by side", "no safetensors"])
def test_a_pipeline_folder_of_diffusers(tmp_path, layout):
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    with torch.random.fork_rng([]):
        network = UNet2DModel(**CONFIG | dict(in_channels=3, out_channels=3, sample_size=8)).eval()
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", num_train_timesteps=100, steps_offset=1)
    if layout == "side by side":
        network.save_pretrained(tmp_path)
        scheduler.save_pretrained(tmp_path)
    else:
        DDIMPipeline(network, scheduler).save_pretrained(tmp_path, safe_serialization=layout == "folders")
    model = models.load_pipeline(tmp_path)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(model.output(x, 42), network(x, 42, return_dict=False)[0], rtol=1e-4, atol=1e-5)
    assert (model.channels, model.size, model.fold, len(model.digest)) == (3, 8, 1, 64)
    assert len(model.scheduler.alphas_cumprod) == 100 and model.scheduler.config.prediction_type == "epsilon"
    weights = next(tmp_path.rglob("diffusion_pytorch_model.*"))
    good = weights.read_bytes()
    torch.save(Bomb(), weights)  # nothing in it is executed
    with pytest.raises(ValueError, match=r"expected the weights of config\.json, got"):
        models.load_pipeline(tmp_path)
    weights.write_bytes(good)
    config = next(tmp_path.rglob("config.json"))
    config.write_text(json.dumps(json.loads(config.read_text()) | dict(num_class_embeds=10)))
    with pytest.raises(ValueError, match="unconditional UNet2DModel on pixels, got UNet2DModel with class labels"):
        models.load_pipeline(tmp_path)


def test_no_pipeline(tmp_path):
    with pytest.raises(ValueError, match=r"expected a pipeline .* give the folder that holds"):
        models.load_pipeline(tmp_path)
    for name, content in (("config.json", {"_class_name": "UNet2DConditionModel"}), ("scheduler_config.json", {})):
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match="got UNet2DConditionModel; take another model"):
        models.load_pipeline(tmp_path)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_adm_files(tmp_path):
    """Nothing in a file is executed; every wrong file is named. That of the right one is in test_images_adm."""
    path = tmp_path / "adm.pt"
    with pytest.raises(ValueError, match=r"expected OpenAI's 256x256_diffusion_uncond.pt, got nothing there"):
        adm.load_adm(path)
    for content, why in (
        (Bomb(), "expected a whole file of weights, got"),
        ([1, 2], "expected a state dict .names and tensors., got list"),
        ({"a": 1}, "expected a state dict .names and tensors., got dict"),
        ({"out.0.weight": torch.zeros(3)}, "adm.pt: state dict: expected a weight time_embed.0.weight, got none"),
    ):
        torch.save(content, path)
        with pytest.raises(ValueError, match=why):
            adm.load_adm(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="expected a whole file of weights, got"):
        adm.load_adm(path)
