"""Models from files: what was saved is what is loaded, nothing is executed, every wrong file is named."""

import hashlib
import json

import pytest
import safetensors.torch
import torch

from hierlib.images import adm, classifier, models, schedule
from hierlib.images.unet import small_config, unet
from tests.test_images_sampler import CONFIG, images, small

STEPS = dict(schedule.LINEAR, prediction_type="v_prediction", timestep_spacing="linspace", variance_type="fixed_small")
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


def rewrite(path, **change):
    path.with_suffix(".json").write_text(json.dumps(json.loads(path.with_suffix(".json").read_text()) | change))


@pytest.mark.parametrize("change", [dict(attention_head_dim=4), dict(norm_num_groups=2), dict(act_fn="gelu")])
def test_other_options_for_the_same_weights_are_another_model(tmp_path, change):
    """Its U-turns are not those of the first; what was recorded of the usual options, without them, stays."""
    usual, path = small_config(1, 8, (8, 16)), tmp_path / "little.safetensors"
    models.save(path, unet(usual).state_dict(), ABOUT | dict(network=usual))
    first, x = models.load_small(path), small().encode(images(2))
    rewrite(path, network=usual | change)
    other = models.load_small(path)
    assert not torch.equal(first.output(x, 300), other.output(x, 300)), "weights alone do not tell"
    assert other.inputs()["network"].items() >= change.items()
    assert first.inputs().keys() == {"model", "digest", "schedule", "device", "precision"}
    assert first.inputs().items() <= other.inputs().items()


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
    "other images": (lambda p: rewrite(p, size=16), "that belong together, got a network of other images than"),
    "fixed_large_log": (
        lambda p: rewrite(p, scheduler=STEPS | dict(variance_type="fixed_large_log")),
        "variance_type: expected one of .*, got 'fixed_large_log' .diffusers takes the root of a logarithm",
    ),
    "other network": (lambda p: rewrite(p, network=small_config(1, 8, (8, 24))), "that belong together"),
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


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf], ids=["nan", "infinity"])
def test_weights_that_are_not_finite_are_refused(tmp_path, bad):
    """As a file that another program wrote: `save` refuses them."""
    path = tmp_path / "little.safetensors"
    for kind, network, load in (
        ("diffusion model", small().network, models.load_small),
        ("classifier", classifier.ImageCNN(1, 5, width=8), classifier.load_classifier),
    ):
        weights = network.state_dict()
        name = list(weights)[-1]
        models.save(
            path, weights, ABOUT | dict(kind=kind) | (dict(network=network.config) if kind != ABOUT["kind"] else {})
        )
        weights[name] = torch.full_like(weights[name], bad)
        with pytest.raises(ValueError, match=f"{name}: expected weights that float16 can hold"):
            models.save(tmp_path / "other.safetensors", weights, ABOUT)
        data = safetensors.torch.save({k: w.contiguous() for k, w in weights.items()})
        path.write_bytes(data)
        rewrite(path, sha256=hashlib.sha256(data).hexdigest())
        with pytest.raises(ValueError, match=rf"little\.safetensors: weight {name}: expected finite numbers, got"):
            load(path)


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
