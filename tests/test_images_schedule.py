"""Noise schedules: in double precision that of their definitions, and what leads to nan is refused by its name."""

import inspect
import math

import pytest
import torch

import hierlib._torchvision  # noqa: F401
from hierlib.images import schedule

from diffusers import DDPMScheduler  # isort: skip


def test_the_options_are_those_of_diffusers():
    """Another version may have other ones, or other values where nothing is said."""
    theirs = inspect.signature(DDPMScheduler.__init__).parameters
    assert {name: each.default for name, each in theirs.items() if name != "self"} == schedule.DEFAULTS


def test_double_precision():
    scheduler = schedule.exact_scheduler(**schedule.LINEAR)
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    assert scheduler.alphas_cumprod.dtype == torch.float64
    torch.testing.assert_close(scheduler.alphas_cumprod[-1], torch.exp(torch.log1p(-beta).sum()), rtol=1e-12, atol=0)
    given = schedule.exact_scheduler(num_train_timesteps=3, trained_betas=[0.1, 0.2, 0.3])
    torch.testing.assert_close(given.alphas_cumprod, torch.tensor([0.9, 0.72, 0.504], dtype=torch.float64))


def test_cosine_is_its_closed_form():
    """While no β is cut at .999, ᾱ of step i is cos² at (i+1)/T over that at 0 (Nichol and Dhariwal 2021, eq. 17)."""
    T, cos = 200, lambda t: math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    ours = schedule.exact_scheduler(num_train_timesteps=T, beta_schedule="squaredcos_cap_v2").alphas_cumprod
    expected = torch.tensor([cos((i + 1) / T) / cos(0) for i in range(T - 1)], dtype=torch.float64)
    torch.testing.assert_close(ours[:-1], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("zero", [False, True], ids=["", "no signal at the end"])
@pytest.mark.parametrize("kind", schedule.CHOICES["beta_schedule"])
def test_every_kind_is_that_of_diffusers(kind, zero):
    options = dict(num_train_timesteps=50, beta_schedule=kind, rescale_betas_zero_snr=zero, prediction_type="sample")
    ours, theirs = schedule.exact_scheduler(**options), DDPMScheduler(**options)
    torch.testing.assert_close(ours.alphas_cumprod.float(), theirs.alphas_cumprod, rtol=1e-4, atol=2e-7)
    assert (ours.alphas_cumprod[-1] == 0) == zero and (ours.alphas_cumprod.diff() < 0).all()
    torch.testing.assert_close(ours.betas.float(), theirs.betas, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", schedule.CHOICES["variance_type"])
def test_every_variance_is_finite(kind):
    scheduler = schedule.exact_scheduler(num_train_timesteps=20, beta_end=0.4, variance_type=kind)
    scheduler.set_timesteps(5)
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for t in scheduler.timesteps.tolist():
        said = torch.cat([x, x], 1) if kind == "learned_range" else x
        x = scheduler.step(said, t, x, generator=torch.Generator().manual_seed(t)).prev_sample
        assert x.isfinite().all()


@pytest.mark.parametrize(
    "options, why",
    [
        (dict(variance_type="fixed_large_log"), "got 'fixed_large_log' .diffusers takes the root of a logarithm below"),
        (dict(variance_type="learned"), "got 'learned' .diffusers takes the network's output for the variance"),
        (
            dict(prediction_type="flow_prediction"),
            "prediction_type: expected one of epsilon, sample, v_prediction, got",
        ),
        (dict(beta_schedule="exp"), "beta_schedule: expected one of linear, .*, got 'exp'"),
        (dict(beta_schedule=["linear"]), r"beta_schedule: expected one of .*, got \['linear'\]"),
        (dict(timestep_spacing=None), "timestep_spacing: expected one of linspace, leading, trailing, got None"),
        (dict(sigma_min=0.1), "sigma_min: expected an option of diffusers' DDPMScheduler, got sigma_min = 0.1"),
        (dict(clip_sample="yes"), "clip_sample: expected true or false, got 'yes'"),
        (dict(clip_sample_range=math.nan), "clip_sample_range: expected a number as 1.0, got nan"),
        (dict(clip_sample_range=0.0), "clip_sample_range: expected a number above 0, got 0.0, which makes every"),
        (dict(clip_sample_range=-1.0), "clip_sample_range: expected a number above 0, got -1.0"),
        (dict(sample_max_value=-1.0, thresholding=True), "sample_max_value: expected a number above 0, got -1.0"),
        (dict(dynamic_thresholding_ratio=1.1), "dynamic_thresholding_ratio: expected a share .* from 0 to 1, got 1.1"),
        (dict(dynamic_thresholding_ratio=-0.1), "expected a share of the pixels, from 0 to 1, got -0.1"),
        (dict(num_train_timesteps=10.5), "num_train_timesteps: expected a number as 1000, got 10.5"),
        (dict(num_train_timesteps=1), "num_train_timesteps: expected at least 2, got 1"),
        (
            dict(beta_start=0.0),
            "beta_start, beta_end: expected the noise β of every step above 0 and below 1, got 0 to",
        ),
        (dict(beta_end=1.5), "above 0 and below 1, got 0.0001 to 1.5"),
        (dict(beta_start=-0.1, beta_schedule="scaled_linear"), "above 0 and below 1, got 0 to"),
        (dict(trained_betas=[0.1, 0.2]), "trained_betas: expected 1000 numbers, got 2 entries"),
        (dict(trained_betas=0.1), "trained_betas: expected 1000 numbers, got 0.1"),
        (dict(trained_betas=[0.1, None], num_train_timesteps=2), "trained_betas: expected 2 numbers, got 2 entries"),
        (dict(trained_betas=[0.1, 1.0], num_train_timesteps=2), "trained_betas: expected the noise β .* got 0.1 to 1"),
        (dict(rescale_betas_zero_snr=True), "expected prediction_type v_prediction or sample with it, got epsilon"),
    ],
    ids=str,
)
def test_what_is_refused(options, why):
    with pytest.raises(ValueError, match=why):
        schedule.exact_scheduler(**options)
