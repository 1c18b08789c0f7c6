"""Audits of samplers: who is exact passes, who is broken on purpose does not, and what cannot be driven is refused."""

import math

import pytest
import torch

import hierlib as hl
from hierlib import unmask
from hierlib.networks import schedulers
from hierlib.networks.generation import exact_denoiser

import diffusers  # isort: skip  (after hierlib, which minds torchvision)

SMALL = hl.random_grammar(v=3, m=2, s=2, L=2, generator=torch.Generator().manual_seed(4))  # 24 data of 4 leaves


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def checked(scheduler, steps, n=4000, seed=0, **settings):
    return hl.audit(scheduler, SMALL, steps=steps, n=n, generator=rng(seed), settings=settings)


def exact(denoise, n, steps, generator):
    order = unmask.random_order(n, 4, generator=generator)
    return unmask.draw(denoise, n, order, steps, d=4, v=3, generator=generator)


def test_an_exact_sampler_passes():
    found = checked(exact, 4)
    assert found.calls == 4 and found.levels.tolist() == [1, 1, 1] and found.errors.tolist() == [0, 0, 0]
    assert found.law.divergence == found.law.least and abs(found.law.least) < 3 * found.law.error < 0.012
    assert (
        found.nats.lo < 0 < found.nats.hi and found.legal.lo > 0.998 and found.legal.hi == pytest.approx(1, abs=1e-12)
    )
    assert found.classes.sum() == 4000 and found.balance < 5 and "torch" in found.versions


def test_a_sampler_that_is_broken_on_purpose_is_noticed():
    def sharpens(denoise, n, steps, generator):
        return exact(lambda e: denoise(e).square() / denoise(e).square().sum(2, keepdim=True), n, steps, generator)

    def misprints(denoise, n, steps, generator):
        x = exact(denoise, n, steps, generator)
        x[: n // 4, 0] = (x[: n // 4, 0] + 1) % 3
        return x

    def one_class(denoise, n, steps, generator):
        return exact(denoise, n, steps, generator)[:1].expand(n, -1)

    sharp, wrong, same = (checked(sampler, 4) for sampler in (sharpens, misprints, one_class))
    assert sharp.calls == 8 and sharp.nats.lo > 0.01 and sharp.legal.value == 1
    assert wrong.legal.hi < 0.95 and wrong.nats.lo > 0.02 and wrong.levels[0] == 1 and wrong.errors[-1] > 0
    assert same.law.divergence == math.inf and same.nats.value > 2 and same.balance > 1000
    assert (checked(exact, 1).law.least, checked(exact, 1).levels[-1]) != (0, 1) and checked(exact, 1).nats.lo > 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheduler", "few", "many", "settings"),
    [
        (diffusers.DDPMScheduler(), 3, 60, {}),
        (diffusers.DDPMScheduler(prediction_type="v_prediction"), 3, 60, {}),
        (diffusers.DDPMScheduler(prediction_type="sample", clip_sample=False), 3, 60, {}),
        (diffusers.DDIMScheduler(), 2, 40, {}),
        (diffusers.DDIMScheduler(clip_sample=False), 3, 60, {"eta": 1.0}),
        (diffusers.DPMSolverMultistepScheduler(), 2, 20, {}),
        (diffusers.UniPCMultistepScheduler(), 2, 20, {}),
        (diffusers.EulerDiscreteScheduler(), 2, 40, {}),
        (diffusers.EulerAncestralDiscreteScheduler(), 3, 60, {}),
        (diffusers.HeunDiscreteScheduler(), 2, 20, {}),
        (diffusers.EDMEulerScheduler(), 3, 60, {}),
        (diffusers.EDMEulerScheduler(prediction_type="v_prediction"), 3, 60, {}),
        (diffusers.EDMDPMSolverMultistepScheduler(), 3, 40, {}),
        (diffusers.DiscreteDDIMScheduler(), 2, 100, {"temperature": 1.0}),
        (diffusers.VQDiffusionScheduler(4), 1, 100, {}),
        (diffusers.EntropyBoundScheduler(0.0, t_max=1.0, t_min=1.0), 2, 4, {}),
        (diffusers.AmusedScheduler(3, "linear"), 1, 4, {"temperature": (30, 30)}),
    ],
    ids=lambda x: type(x).__name__ if hasattr(x, "step") else "",
)
def test_many_steps_approach_the_data_and_few_do_not(scheduler, few, many, settings):
    near, far = checked(scheduler, many, n=2000, **settings), checked(scheduler, few, n=2000, **settings)
    assert near.nats.lo < 0.012 < far.nats.lo and near.legal.value > 0.97
    assert near.calls >= many and far.calls >= few


@pytest.mark.parametrize("mask", [{}, {"mask_token_id": 3}])
def test_keeping_what_came_out_likely_sharpens_with_masks_and_without(mask):
    found = checked(diffusers.BlockRefinementScheduler(threshold=1.0), 4, n=1000, temperature=1.0, **mask)
    assert found.legal.value == 1 and found.nats.lo > 0.05 and found.calls == 4
    assert len(checked(diffusers.BlockRefinementScheduler(), 4, n=500, **mask).strings.unique(dim=0)) == 1, "argmax"


def test_a_corrector_is_run_and_its_calls_are_counted():
    """Of random single places it is a Gibbs step, so that it repairs what one predictor step spoils."""
    how = dict(corrector_steps=3, corrector_selection="random")
    with_it, without = (
        checked(scheduler, 21, n=3000, temperature=1.0)
        for scheduler in (diffusers.DiscreteDDIMScheduler(**how), diffusers.DiscreteDDIMScheduler())
    )
    assert with_it.calls == without.calls == 21
    assert with_it.nats.value != pytest.approx(without.nats.value, abs=1e-6)
    alone = checked(diffusers.DiscreteDDIMScheduler(), 6, n=3000, temperature=1.0)
    assert with_it.nats.value < alone.nats.value, "six predictor steps are among the 21 calls"


def test_a_scheduler_is_left_as_it_was_and_one_derived_from_it_is_driven():
    class Own(diffusers.DDPMScheduler):
        pass

    mine = Own()
    before = mine.timesteps.clone()
    assert checked(mine, 3, n=10).calls == 3 and torch.equal(mine.timesteps, before)
    few = checked(mine, 3, n=10)
    assert few.law is None and few.strings.shape == (10, 4)
    with pytest.raises(ValueError, match="n: expected 20 strings or more for each datum"):
        _ = few.nats


def test_the_ratio_of_two_divergences():
    a, b = checked(exact, 1), checked(exact, 2)
    found = schedulers.ratio(a, b)
    assert found.value == pytest.approx(a.nats.value / b.nats.value) and found.lo < found.value < found.hi
    relative = (found.hi - found.value) / found.value
    parts = [(one.nats.hi - one.nats.value) / one.nats.value for one in (a, b)]
    assert relative == pytest.approx(math.hypot(*parts))


@pytest.mark.parametrize(
    ("scheduler", "changed", "said"),
    [
        ("ddpm", {}, "scheduler: expected one of AmusedScheduler, .* loop of one's own around it, got 'ddpm'"),
        (diffusers.DDPMScheduler, {}, "scheduler: expected one of"),
        (diffusers.AmusedScheduler(5), {}, "scheduler: expected mask_token_id=3, the symbol after the last, got 5"),
        (diffusers.VQDiffusionScheduler(3), {}, "scheduler: expected num_vec_classes=4"),
        (
            diffusers.DPMSolverMultistepScheduler(prediction_type="flow_prediction"),
            {},
            "expected prediction_type epsilon",
        ),
        (
            diffusers.BlockRefinementScheduler(),
            {"settings": {"mask_token_id": 1}},
            "settings: expected mask_token_id=3",
        ),
        (
            diffusers.DDPMScheduler(),
            {"settings": {"eta": 1.0}},
            "settings: expected arguments of set_timesteps or step",
        ),
        (diffusers.DDPMScheduler(), {"steps": 0}, "steps: "),
        (diffusers.DDPMScheduler(), {"n": 0}, "n: "),
        (diffusers.DDPMScheduler(), {"floor": 0.0}, "floor: expected a probability above 0"),
        (diffusers.DDPMScheduler(), {"generator": 3}, "generator: expected a torch.Generator"),
        (lambda *_: None, {}, r"one's own sampler to return \(5, 4\) symbols, got None"),
        (lambda *_: torch.zeros(5, 3), {}, r"got torch.float32 of shape \(5, 3\)"),
        (lambda *_: torch.full((5, 4), 3), {}, "leaves: expected"),
    ],
)
def test_bad_input_is_refused(scheduler, changed, said):
    with pytest.raises(ValueError, match=said):
        hl.audit(scheduler, SMALL, **{"steps": 2, "n": 5, "generator": rng()} | changed)


def test_a_denoiser_that_says_no_numbers_is_named():
    with pytest.raises(ValueError, match="the denoiser's belief"):
        schedulers.run(exact, lambda e: e * math.nan, 2, steps=2, d=4, v=3, generator=rng())
    good = schedulers.run(exact, exact_denoiser(SMALL), 2, steps=2, d=4, v=3, generator=rng())
    assert good.calls == 2 and good.strings.shape == (2, 4)
