"""The decision rule on curves whose answer is known; the exact denoiser of two clouds against quadrature and limits."""

import pytest
import torch

from hierlib.images import mixture
from hierlib.images.inversion import inversion
from hierlib.images.sampler import denoised, generator, noised

DEEP_THEN_SHALLOW = torch.tensor([-0.1, -0.2, 0.0, 0.2, 0.1], dtype=torch.float64)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def curves(mean, *, seed=0, networks=3, images=200, of_images=0.2, of_networks=0.005, offset=0.0):
    """Similarities whose first layer minus logits has a mean (K,), with noise of images (shared) and of networks."""
    g, shape = rng(seed), (networks, len(mean), images)
    shared = of_images * torch.randn(1, *shape[1:], generator=g, dtype=torch.float64)
    own = of_networks * torch.randn(networks, len(mean), 1, generator=g, dtype=torch.float64)
    d = mean[:, None] + shared + own + offset
    base = offset + 0.05 * torch.randn(networks, images, generator=g, dtype=torch.float64)
    return torch.stack([d, torch.zeros(shape)], -1), torch.stack([base, torch.zeros(networks, images)], -1)


def test_an_inversion_is_seen_and_its_mirror_image_is_none():
    found = inversion(*curves(DEEP_THEN_SHALLOW))
    assert found.inverts and found.deep_is_kept.tolist() == [True, True, False, False, False]
    assert found.shallow_is_kept.tolist() == [False, False, False, True, True]
    assert not inversion(*curves(-DEEP_THEN_SHALLOW)).inverts, "the other way round is not what the theory says"
    assert not inversion(*curves(-DEEP_THEN_SHALLOW.abs())).inverts
    torch.testing.assert_close(found.difference, DEEP_THEN_SHALLOW, atol=0.06, rtol=0)


def test_baseline_is_subtracted():
    a, b = (inversion(*curves(DEEP_THEN_SHALLOW, offset=z)).difference for z in (0.0, 0.5))
    torch.testing.assert_close(a, b)


def test_equal_images_are_no_lead_on_the_scale_above_chance():
    """Unrelated images are alike by 0.3 to the first layer and by 0 to the logits; the ends are the starts."""
    cosine = 1 - 1e-4 * torch.randn(2, 2, 40, 2, generator=rng(), dtype=torch.float64).abs()
    baseline = 1e-3 * torch.randn(2, 200, 2, generator=rng(1), dtype=torch.float64)
    baseline[..., 0] += 0.3
    assert inversion(cosine, baseline).deep_is_kept.all()
    assert not inversion(cosine, baseline, above_chance=True).deep_is_kept.any()
    halved = torch.stack([0.3 + 0.7 * cosine[..., 0] / 2, cosine[..., 1] / 2], -1)  # half-way to chance in both
    found = inversion(halved, baseline, above_chance=True).difference
    assert found.abs().max() < 1e-3 < 0.1 < inversion(halved, baseline).difference.abs().min()


def test_all_intervals_hold_at_once_as_often_as_promised():
    for options in (dict(of_networks=0.0), dict(of_images=0.02, of_networks=0.05)):
        trials = 300
        holds = 0
        for seed in range(trials):
            found = inversion(*curves(torch.zeros(5, dtype=torch.float64), seed=seed, **options))
            holds += bool((found.difference.abs() <= found.half_width).all())
        assert holds / trials > 0.95 - 4 * (0.05 * 0.95 / trials) ** 0.5
    assert found.half_width.min() > 0


@pytest.mark.parametrize(
    "cosine, baseline",
    [((3, 5, 9), (3, 9, 2)), ((3, 5, 9, 2), (2, 9, 2)), ((1, 5, 9, 2), (1, 9, 2)), ((3, 5, 1, 2), (3, 9, 2))],
)
def test_wrong_shapes(cosine, baseline):
    with pytest.raises(ValueError, match="expected"):
        inversion(torch.zeros(cosine), torch.zeros(baseline))


@pytest.mark.parametrize("t", [3, 200, 600, 990])
def test_denoiser_is_the_posterior_mean(t):
    """One dimension, by quadrature over x₀."""
    model = mixture.clouds(1, 2.5, generator=rng())
    a, mu = float(model.scheduler.alphas_cumprod[t]), float(model.network.mode)
    x0 = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    prior = torch.exp(-((x0 - mu) ** 2) / 2) + torch.exp(-((x0 + mu) ** 2) / 2)
    x = torch.tensor([-3.0, -0.2, 0.7, 2.1], dtype=torch.float64)
    weight = prior * torch.exp(-((x[:, None] - a**0.5 * x0) ** 2) / (2 * (1 - a)))
    clean = (weight * x0).sum(1) / weight.sum(1)
    expected = (x - a**0.5 * clean) / (1 - a) ** 0.5
    eps = model.eps(x.float()[:, None, None, None], t).flatten().double()
    torch.testing.assert_close(eps, expected, rtol=1e-4, atol=1e-4)


def test_sampling_gives_the_clouds_back():
    model = mixture.clouds(16, 6.0, generator=rng())
    rngs = [generator("cpu", 0, 100, i) for i in range(600)]
    x = noised(model, torch.zeros(600, 1, 1, 16), 100, steps=100, matched=False, rngs=rngs)
    y = denoised(model, x, 100, steps=100, rngs=rngs).flatten(1)
    along = y @ model.network.mode / 6
    assert abs((along > 0).double().mean() - 0.5) < 4 * 0.5 / 600**0.5
    assert abs(along.abs().mean() - 6) < 0.2
    across = y - along[:, None] * model.network.mode / 6
    assert abs(across.square().sum(1).mean() - 15) < 4 * (2 * 15 / 600) ** 0.5 + 0.5, "a little is lost to 100 steps"


def test_two_clouds_lose_their_class_and_do_not_invert():
    model = mixture.clouds(256, 8.0, generator=rng())
    nets = [mixture.train_mlp(model, steps=60, generator=rng(s)) for s in range(3)]
    cosine, baseline, kept = mixture.cloud_uturns(model, nets, [5, 25, 35, 50], n=120, steps=50, generator=rng(9))
    assert cosine.shape == (3, 4, 120, 2) and baseline.shape == (3, 2000, 2)
    assert kept[0] == 1 and abs(kept[-1] - 0.5) < 0.2
    found = inversion(cosine, baseline)
    assert found.deep_is_kept[1] and not found.inverts


def test_the_control_is_two_clouds_seen_by_perceptrons_of_their_own_seeds():
    sizes = dict(n=20, steps=50)
    found = mixture.control(6.0, [5, 50], d=32, networks=2, training=20, **sizes, generator=rng(4))
    again = rng(4)
    model = mixture.clouds(32, 6.0, generator=again)
    nets = [mixture.train_mlp(model, steps=20, generator=rng(s)) for s in range(2)]
    cosine, baseline, kept = mixture.cloud_uturns(model, nets, [5, 50], **sizes, generator=again)
    assert found.t.tolist() == [0.1, 1.0] and torch.equal(found.kept, kept)
    assert torch.equal(found.order.difference, inversion(cosine, baseline).difference)
    with pytest.raises(ValueError, match="at least two networks"):
        mixture.control(6.0, [5], d=8, networks=1, training=1, **sizes, generator=rng())
