"""Running the reverse diffusion step by step is the same as drawing from the posterior (section 4)."""

import math

import pytest
import torch

import hierlib as hl
from hierlib.diffusion import ddpm, ddpm_noise, reveal, reverse_diffusion, reverse_process
from hierlib.networks import generation

N = 20_000


@pytest.mark.slow
@pytest.mark.parametrize(("k", "alpha_bar"), [(98, 0.9), (258, 0.5)])
def test_reverse_process_and_posterior_sampling_keep_the_same_symbols(k, alpha_bar):
    rng = torch.Generator().manual_seed(k)
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng)
    scheduler = ddpm()
    noise = ddpm_noise(g.v, scheduler)
    assert noise.alpha_bar(k) == pytest.approx(alpha_bar, abs=0.005)
    x = hl.sample(g, N, generator=rng)
    x_k = noise.corrupt(x[0], k, generator=rng)
    reverse = hl.parse(g, reverse_diffusion(g, x_k, k, generator=rng, scheduler=scheduler))  # all grammatical
    direct = [y[:, 0] for y in hl.posterior_sample(g, noise.evidence(x_k, k), generator=rng)]
    for level in range(g.L + 1):
        # paired by datum: both start from the same x_k, so the spread of the difference is the spread that counts
        difference = (reverse[level] == x[level]).double().mean(1) - (direct[level] == x[level]).double().mean(1)
        error = difference.std() / N**0.5
        assert error < 0.005
        assert abs(difference.mean()) < 3 * error, f"level {level}"
    assert (reverse[0] != direct[0]).any(), "two random draws must not be the same draw"


def test_a_biased_denoiser_is_noticed():
    """The comparison above can fail: with the single-leaf posterior for a denoiser it does."""
    rng = torch.Generator().manual_seed(0)
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng)
    scheduler, k = ddpm(), 258
    noise = ddpm_noise(g.v, scheduler)
    x = hl.sample(g, 2000, generator=rng)
    x_k = noise.corrupt(x[0], k, generator=rng)
    y = x_k
    for step in range(k, -1, -1):
        y = scheduler.step(noise.evidence(y, step), step, y, generator=rng).prev_sample
    with pytest.raises(ValueError, match="not a string of this grammar"):
        hl.parse(g, y.argmax(-1))


@pytest.mark.parametrize("k", [0, 1000])
def test_step_out_of_range(k):
    g = hl.random_grammar(v=2, m=1, s=2, L=1, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"k: expected a step in 1…999"):
        reverse_diffusion(g, torch.zeros(1, 2, 2), k, generator=torch.Generator())


def test_a_scheduler_for_another_prediction_is_refused():
    from diffusers import DDPMScheduler

    g = hl.random_grammar(v=2, m=1, s=2, L=1, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="prediction_type='sample'"):
        reverse_diffusion(g, torch.zeros(1, 2, 2), 5, generator=torch.Generator(), scheduler=DDPMScheduler(1000))
    for variance in ("learned", "learned_range"):
        other = DDPMScheduler(1000, prediction_type="sample", clip_sample=False, variance_type=variance)
        with pytest.raises(ValueError, match=f"and a fixed variance_type, got .* and '{variance}'; make it with"):
            reverse_diffusion(g, torch.zeros(1, 2, 2), 5, generator=torch.Generator(), scheduler=other)


@pytest.mark.parametrize("shape", [(1, 5, 3), (4, 5, 1), (4, 1, 3), (5, 3), (4, 3, 5)], ids=str)
def test_a_mean_that_would_be_broadcast_is_refused(shape):
    x_k = torch.zeros(4, 5, 3)
    with pytest.raises(ValueError, match=r"denoise: expected marginals of shape \(4, 5, 3\)"):
        reverse_process(lambda evidence: torch.full(shape, 1 / 3), x_k, 2, generator=torch.Generator())
    g = hl.random_grammar(v=3, m=1, s=5, L=1, generator=torch.Generator().manual_seed(0))
    leaves = hl.sample(g, 4, generator=torch.Generator())[0]
    masks = generation.Masking(3)
    with pytest.raises(ValueError, match=r"denoise: expected marginals of shape \(4, 5, 3\)"):
        masks.back(lambda evidence: torch.ones(shape), torch.full((4, 5), 3), 1.0, generator=torch.Generator())
    with pytest.raises(ValueError, match=r"denoise: expected marginals of shape \(4, 5, 3\)"):
        generation.gap_to_exact(
            g, lambda evidence: torch.full(shape, 1 / 3), masks, leaves, 0.5, generator=torch.Generator()
        )
    with pytest.raises(ValueError, match="way back from step 2, step 1: expected finite numbers"):
        means = iter([torch.full((4, 5, 3), 1 / 3), torch.full((4, 5, 3), torch.nan)])
        reverse_process(lambda evidence: next(means), x_k, 2, generator=torch.Generator())


def test_masks_revealed_one_by_one_are_a_draw_from_the_posterior():
    rng = torch.Generator().manual_seed(3)
    g = hl.random_grammar(v=5, m=2, s=2, L=3, generator=rng)
    x0 = hl.sample(g, 1, generator=rng)[0]
    way = reveal(g, x0, hl.MaskNoise(v=5).corrupt(x0, 0.8, generator=rng))
    assert way.by_steps == pytest.approx(way.at_once, abs=1e-9) and way.by_steps < 0
    assert reveal(g, x0, x0) == (0, pytest.approx(0, abs=1e-12))
    every = reveal(g, x0, torch.full_like(x0, 5))  # nothing seen: one of v·m^7 data
    assert every.by_steps == pytest.approx(-math.log(5 * 2**7))


def test_revealing_refuses_what_is_not_the_datum_masked():
    rng = torch.Generator().manual_seed(3)
    g = hl.random_grammar(v=5, m=2, s=2, L=2, generator=rng)
    x0 = hl.sample(g, 2, generator=rng)[0]
    for x_t in ((x0[:1] + 1) % 5, x0, x0[:1, :3]):
        with pytest.raises(ValueError, match="x_t: expected one datum"):
            reveal(g, x0[: len(x_t)], x_t)
