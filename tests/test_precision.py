"""Every floating type at the ends of its range: right to its own digits, against sums of logarithms, or refused."""

import math
from decimal import Decimal, getcontext

import pytest
import torch
from scipy import stats

import hierlib as hl
from hierlib import diffusion
from hierlib.enumeration import all_data, brute_force, derivation_weights
from hierlib.experiments import spectrum, uturns
from hierlib.experiments.changes import moments_of
from hierlib.theory.changes import mean_field
from tests.test_kernels import BACKENDS, on

TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
HALF = TYPES[:2]
DIGITS = {torch.float16: 2e-3, torch.bfloat16: 5e-3, torch.float32: 3e-6, torch.float64: 1e-12}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def in_logarithms(g, evidence, prior=None):
    """Marginals and log evidence by belief propagation on logarithms, which know no smallest number."""
    up = [evidence.double().log()]
    prior = torch.full((1, g.num_classes), 1 / g.num_classes).double() if prior is None else prior.double()
    for rule in g.rules:
        children = up[-1].unflatten(1, (-1, g.s))
        up.append(sum(children[:, :, i][..., rule[..., i]] for i in range(g.s)).logsumexp(-1) - math.log(g.m))
    down = (prior / prior.sum(1, keepdim=True)).log()[:, None].expand(len(evidence), 1, -1)
    marginals, log_evidence = [], (up[-1] + down).logsumexp(2)[:, 0]
    for level in reversed(range(g.L + 1)):
        marginals.insert(0, (up[level] + down).softmax(2))
        if level:
            rule, children = g.rules[level - 1], up[level - 1].unflatten(1, (-1, g.s))
            seen, below = [children[:, :, i][..., rule[..., i]] for i in range(g.s)], []
            for i in range(g.s):
                weight = down[..., None] + sum(seen[:i] + seen[i + 1 :], torch.zeros(()))
                index = rule[..., i].flatten().expand(*weight.shape[:2], -1)
                weight = weight.flatten(2)
                top = weight.new_full((*weight.shape[:2], g.v), -math.inf).scatter_reduce_(2, index, weight, "amax")
                top = top.clamp_min(-1e300)
                terms = (weight - top.gather(2, index)).exp()
                below.append(torch.zeros_like(top).scatter_add_(2, index, terms).log() + top)
            down = torch.stack(below, 2).flatten(1, 2)
            down = down - down.amax(2, keepdim=True)
    return marginals, log_evidence


def far_apart(g, kind, n, dtype, seed=0):
    """Evidence whose products are small: of wide tuples, of leaves that contradict the rules, in any normalisation."""
    generator = rng(seed)
    if kind == "broad":
        x = hl.sample(g, n, generator=generator)[0]
        noise = hl.UniformNoise(g.v, torch.float64)
        e = noise.evidence(noise.corrupt(x, 0.5, generator=generator), 0.5)
    elif kind == "against":
        x = torch.randint(g.v, (n, g.d), generator=generator)
        e = hl.epsilon_evidence(x, eps=3e-3 if dtype in HALF else 1e-9, v=g.v, dtype=torch.float64)
    elif kind == "peaked":
        e = torch.rand(n, g.d, g.v, dtype=torch.float64, generator=generator) ** (6 if dtype in HALF else 25)
    else:
        e = torch.rand(n, g.d, g.v, dtype=torch.float64, generator=generator) + 0.01
        e = e * 2.0 ** (26 * torch.rand(n, g.d, 1, dtype=torch.float64, generator=generator) - 13)
    return e.to(dtype)


SIZES = [(64, 8, 4, 2), (256, 3, 3, 3), (128, 1, 2, 6), (4, 3, 10, 2), (32, 3, 3, 4), (3, 8, 4, 3), (16, 8, 2, 9)]
EXTREMES = [(size, kind) for size in SIZES for kind in ("broad", "against", "peaked", "scaled")]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("backend", BACKENDS[:2])
def test_beliefs_are_right_to_the_digits_of_their_type(backend, dtype):
    done = 0
    for i, ((v, m, s, L), kind) in enumerate(EXTREMES):
        g = hl.random_grammar(v=v, m=m, s=s, L=L, generator=rng(i))
        n = (1, 3, 33)[i % 3]
        evidence = far_apart(g, kind, n, dtype, seed=i)
        prior = torch.nn.functional.one_hot(torch.arange(n) % v, v).float() if i % 2 else None
        marginals, log_evidence = in_logarithms(g, evidence, prior)
        where = f"v={v} m={m} s={s} L={L} {kind}, {n} data"
        if not torch.isfinite(log_evidence).all():  # half precision wrote a zero where there was none
            assert dtype in HALF, where
            continue
        try:
            b = hl.infer(g, evidence, class_prior=prior, backend=backend)
        except ValueError as error:  # of what is that improbable float64 has no number
            assert "range of float64" in str(error) and log_evidence.min() < -600, where
            continue
        done += 1
        close = dict(rtol=0, atol=DIGITS[dtype])
        for level, (mine, exact) in enumerate(zip(b.marginals, marginals, strict=True)):
            assert mine.dtype == dtype
            torch.testing.assert_close(mine.double(), exact, **close, msg=lambda t, w=where, l=level: f"{w}, {l}: {t}")
        wide = torch.promote_types(dtype, torch.float32)
        assert b.log_evidence.dtype == wide and torch.equal(b.up[0], evidence)
        torch.testing.assert_close(
            b.log_evidence.double(), log_evidence, rtol=2e-6, atol=1e-4 if wide != dtype else 3e-5
        )
        p, again = hl.class_posterior(g, evidence, class_prior=prior, backend=backend)
        torch.testing.assert_close(p.double(), marginals[-1][:, 0], **close)
        torch.testing.assert_close(again.double(), log_evidence, rtol=2e-6, atol=1e-4)
    assert done >= len(EXTREMES) - 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_products_that_leave_single_precision_are_done_again_in_double(backend):
    """Three leaves that contradict every rule, each only by 1e-16: their product is no number of float32."""
    g = hl.random_grammar(v=3, m=2, s=3, L=2, generator=rng())
    x = hl.sample(g, 4, generator=rng())[0].repeat(2, 1)
    allowed = {tuple(rule) for rule in g.rules[0].flatten(0, 1).tolist()}
    free = next(t for t in [(a, b, c) for a in range(3) for b in range(3) for c in range(3)] if t not in allowed)
    x[2, :3] = x[5, 3:6] = torch.tensor(free)
    e = hl.epsilon_evidence(x, eps=1e-30, v=3)
    h, there = on(backend, g, e)
    marginals, log_evidence = in_logarithms(g, e)
    b = hl.infer(h, there, backend=backend)
    for mine, exact in zip(b.marginals, marginals, strict=True):
        torch.testing.assert_close(mine.cpu().double(), exact, rtol=0, atol=2e-6)
    torch.testing.assert_close(b.log_evidence.cpu().double(), log_evidence, rtol=1e-6, atol=1e-5)
    p, _ = hl.class_posterior(h, there, backend=backend)
    torch.testing.assert_close(p.cpu().double(), marginals[-1][:, 0], rtol=0, atol=2e-6)
    y = hl.posterior_sample(
        h, there, num_samples=5, generator=torch.Generator(there.device).manual_seed(0), backend=backend
    )
    assert all(torch.equal(a, b.flatten(0, 1)) for a, b in zip(hl.parse(g, y[0].cpu().flatten(0, 1)), y, strict=True))


def test_the_datum_that_is_impossible_is_named_among_those_done_again():
    g = hl.random_grammar(v=3, m=2, s=3, L=1, generator=rng())
    allowed = {tuple(rule) for rule in g.rules[0].flatten(0, 1).tolist()}
    free = next(t for t in [(a, b, c) for a in range(3) for b in range(3) for c in range(3)] if t not in allowed)
    x = hl.sample(g, 4, generator=rng())[0]
    x[1] = x[3] = torch.tensor(free)
    e = hl.epsilon_evidence(x, eps=torch.tensor([0.1, 1e-20, 0.1, 0.0]), v=3)
    with pytest.raises(ValueError, match="datum 3 is impossible"):
        hl.infer(g, e)
    with pytest.raises(ValueError, match="datum 3 is impossible"):
        hl.epsilon_overlap(
            g,
            (x, torch.zeros(4, 1, dtype=torch.int64)),
            eps=e.new_tensor([0.1, 1e-20, 0.1, 0.0]),
        )


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_gradients_in_half_precision_and_past_the_range_of_single(dtype):
    g = hl.random_grammar(v=3, m=2, s=3, L=1, generator=rng())
    wide = hl.epsilon_evidence(torch.tensor([[0, 1, 2], [2, 2, 0]]), eps=1e-20, v=3, dtype=torch.float64)
    exact = wide.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(hl.infer(g, exact).log_evidence.sum(), exact)
    single = wide.float().requires_grad_()
    (found,) = torch.autograd.grad(hl.infer(g, single).log_evidence.sum(), single)
    torch.testing.assert_close(found * single, (wanted * exact).float(), rtol=1e-5, atol=1e-6)
    half = hl.epsilon_evidence(torch.tensor([[0, 1, 2]]), eps=0.5, v=3, dtype=dtype).requires_grad_()
    (found,) = torch.autograd.grad(hl.infer(g, half).log_evidence.sum(), half)
    exact = half.detach().double().requires_grad_()
    (wanted,) = torch.autograd.grad(hl.infer(g, exact).log_evidence.sum(), exact)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_posterior_samples_follow_the_exact_marginals(dtype):
    g, n = hl.random_grammar(v=64, m=8, s=4, L=2, generator=rng()), 3000
    e = far_apart(g, "broad", 2, dtype)
    marginals, _ = in_logarithms(g, e)
    y = hl.posterior_sample(g, e, num_samples=n, generator=rng(1))
    p_values = []
    for level, exact in zip(y, marginals, strict=True):
        counts = torch.nn.functional.one_hot(level, 64).double().sum(1)
        used = exact * n > 5
        chi2 = ((counts - exact * n) ** 2 / (exact * n))[used].sum()
        p_values.append(stats.chi2.sf(chi2, df=int((used.sum(2) - 1).clamp_min(0).sum())))
    assert min(p_values) > 1e-5


@pytest.mark.parametrize("backend", BACKENDS[:2])
def test_overlap_of_many_data_in_half_precision(backend):
    """The sum over the data is beyond the largest number of float16."""
    g = hl.random_grammar(v=2, m=1, s=2, L=1, generator=rng())
    x = hl.sample(g, 70_000, generator=rng())
    exact = hl.epsilon_overlap(g, x, eps=0.3, dtype=torch.float64)
    for dtype in HALF:
        mine = hl.epsilon_overlap(g, x, eps=0.3, dtype=dtype, backend=backend)
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.double(), exact, rtol=0, atol=DIGITS[dtype])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("n", [3, 40])
def test_evidence_of_every_noise_in_every_type(dtype, n):
    for v in (2, 64, 4096):
        x0 = torch.randint(v, (n, 2), generator=rng())
        for t in (0.0, 1e-7, 1e-3, 0.5, 0.999, 1.0):
            for make in (
                lambda kind, t=t, v=v, x=x0: hl.epsilon_evidence(x, eps=t, v=v, dtype=kind),
                lambda kind, t=t, v=v, x=x0: hl.UniformNoise(v, kind).evidence(x, t),
                lambda kind, v=v, x=x0: hl.MaskNoise(v, kind).evidence(torch.where(x == 0, v, x)),
            ):
                mine, exact = make(dtype), make(torch.float64)
                assert mine.dtype == dtype and mine.stride(0) == 1
                torch.testing.assert_close(mine.double(), exact, rtol=DIGITS[dtype], atol=DIGITS[dtype] / v + 1e-7)
        for t in (1e-9, 1e-3, 0.1, 2.0, 100.0):
            noise, exact = hl.GaussianNoise(v, dtype=dtype), hl.GaussianNoise(v, dtype=torch.float64)
            x_t = noise.corrupt(x0, t, generator=rng())
            mine = noise.evidence(x_t, t)
            assert x_t.dtype == mine.dtype == dtype and torch.isfinite(x_t).all()
            torch.testing.assert_close(mine.double(), exact.evidence(x_t.double(), t), rtol=0, atol=DIGITS[dtype])


@pytest.mark.parametrize("n", [3, 40])
def test_what_is_seen_must_be_finite_once_it_is_scaled(n):
    x_t = torch.zeros(n, 2, 3)
    x_t[1, 1, 1] = 1e37
    with pytest.raises(ValueError, match="also once divided by Δ_t"):
        hl.GaussianNoise(3).evidence(x_t, 1e-4)


@pytest.mark.parametrize("bad", [torch.float8_e4m3fn, torch.int64, torch.complex64, torch.bool], ids=str)
def test_other_types_are_refused_with_those_that_will_do(bad):
    g = hl.random_grammar(v=3, m=2, s=2, L=1, generator=rng())
    x = hl.sample(g, 2, generator=rng())
    message = "expected one of the floating types float16, bfloat16, float32, float64, got"
    for call in (
        lambda: hl.infer(g, torch.ones(1, 2, 3).to(bad)),
        lambda: hl.class_posterior(g, torch.ones(1, 2, 3).to(bad)),
        lambda: hl.epsilon_overlap(g, x, eps=0.1, dtype=bad),
        lambda: hl.epsilon_evidence(x[0], eps=0.1, v=3, dtype=bad),
        lambda: hl.GaussianNoise(3).evidence(torch.ones(1, 2, 3).to(bad), 0.1),
        lambda: hl.GaussianNoise(3, dtype=bad),
        lambda: hl.MaskNoise(3, bad),
        lambda: hl.UniformNoise(3, bad),
        lambda: brute_force(g, torch.ones(1, 2, 3).to(bad)),
        lambda: diffusion.reverse_diffusion(g, torch.ones(1, 2, 3).to(bad), 1, generator=rng()),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-60, 1e60, 1e308])
def test_the_scale_of_the_class_prior_does_not_matter(scale):
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    e = hl.epsilon_evidence(hl.sample(g, 3, generator=rng())[0], eps=0.5, v=4)
    prior = torch.tensor([0.25, 1, 0.5, 0.125], dtype=torch.float64)
    a, b = (hl.class_posterior(g, e, class_prior=p)[0] for p in (prior, prior * scale))
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_the_way_back_takes_its_steps_in_single_precision(dtype):
    """In bfloat16 the first steps add no noise at all; the same start in float32 must end the same."""
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    schedule = diffusion.ddpm(60)
    x_k = diffusion.ddpm_noise(4, schedule, dtype).corrupt(hl.sample(g, 30, generator=rng())[0], 30, generator=rng())
    ends = [diffusion.reverse_diffusion(g, x, 30, generator=rng(1), scheduler=schedule) for x in (x_k, x_k.float())]
    assert x_k.dtype == dtype and torch.equal(*ends)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_experiments_with_noise_in_half_precision(dtype):
    size = dict(v=8, m=3, s=2, L=3, draws=2, data=5)
    for kind in (hl.UniformNoise, hl.MaskNoise):
        exact = uturns.level_curves(kind(8), [0.2, 0.7], **size, generator=rng())
        mine = uturns.level_curves(kind(8, dtype), [0.2, 0.7], **size, generator=rng())
        torch.testing.assert_close(mine.truth, exact.truth, rtol=0, atol=0.01)
        torch.testing.assert_close(mine.squared, exact.squared, rtol=0, atol=0.01)
        a, b = (uturns.class_curves(kind(8, one), [0.5], **size, generator=rng()) for one in (torch.float32, dtype))
        torch.testing.assert_close(a, b, rtol=0, atol=0.01)
    g = hl.random_grammar(v=8, m=3, s=2, L=3, generator=rng())
    e = hl.epsilon_evidence(hl.sample(g, 3, generator=rng())[0], eps=0.5, v=8, dtype=dtype)
    for told in (spectrum.information, spectrum.census):
        torch.testing.assert_close(told(g, e), told(g, e.double()), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="not all zero"):
        spectrum.census(g, torch.zeros(1, 8, 8))


@pytest.mark.parametrize("scale", [1e-280, 1e-90, 1.0, 1e120])
def test_enumeration_past_the_range_of_its_type(scale):
    g = hl.random_grammar(v=3, m=2, s=2, L=3, generator=rng())
    for dtype in (torch.float64, torch.float32):
        e = torch.rand(2, 8, 3, dtype=torch.float64, generator=rng()) * (
            scale if dtype == torch.float64 else scale**0.1
        )
        e = e.to(dtype)
        marginals, log_evidence = in_logarithms(g, e)
        mine, total = brute_force(g, e)
        torch.testing.assert_close(total.double(), log_evidence, rtol=1e-6, atol=1e-6)
        for a, b in zip(mine, marginals, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=0, atol=1e-6)


def susceptibility_counted(g, e, x0):
    """χ from the weight of every derivation; nothing is subtracted from one."""
    x = all_data(g)
    changed = (x[0] != x0).double()
    p = derivation_weights(g, e, x=x)[0]
    p = p / p.sum()
    each, number = (p[:, None] * changed).sum(0), changed.sum(1)
    variance = (p * (number - (p * number).sum()).square()).sum()
    return float(variance / (each * (p[:, None] * (1 - changed)).sum(0)).sum())


@pytest.mark.parametrize(("v", "m", "s", "L"), [(3, 1, 2, 3), (4, 2, 2, 3), (3, 2, 3, 2)])
def test_susceptibility_where_hardly_anything_changes(v, m, s, L):
    g = hl.random_grammar(v=v, m=m, s=s, L=L, generator=rng())
    x0 = hl.sample(g, 1, generator=rng())[0]
    for eps in (1e-60, 1e-20, 1e-12, 1e-7, 1e-4, 0.3):
        e = hl.epsilon_evidence(x0, eps=eps, v=v, dtype=torch.float64)
        counted = susceptibility_counted(g, e, x0)
        assert float(hl.susceptibility(g, e, x0)) == pytest.approx(counted, rel=1e-12)
        kept = moments_of(lambda e: hl.class_posterior(g, e, backend="torch")[1], e, x0)  # by derivatives
        assert float(kept.variance / kept.independent) == pytest.approx(counted, rel=1e-8)
    assert float(hl.susceptibility(g, hl.epsilon_evidence(x0, eps=0.0, v=v), x0)) == 1


def mean_field_susceptibility(eps, v, m, s, L):
    """With fifty digits, by the formulas as they stand."""
    getcontext().prec = 80
    eps, v, m, one = Decimal(eps), Decimal(v), Decimal(m), Decimal(1)
    n, p = v**s - 1, [1 - eps + eps / v]
    for _ in range(L):
        rest = 1 - p[-1] ** s
        p.append((p[-1] ** s + (m - 1) / n * rest) / (p[-1] ** s + (m * v - 1) / n * rest))
    q = [1 / v]
    for below in reversed(p[:-1]):
        c, known = (m - q[0]) / n, below ** (s - 1)
        q.insert(0, (q[0] * known + c * (1 - known)) / (q[0] * known + c * (v - known)))
    P = [a * b / (a * b + (1 - a) * (1 - b) / (v - 1)) for a, b in zip(p, q, strict=True)]
    total, fade, a = one, one, (m - 1) / n
    for level in range(1, L + 1):
        x, c = p[level - 1], (m - q[level]) / n
        both = (q[level] * x**s + c * x**2 * (1 - x ** (s - 2))) / (q[level] * x**s + c * (1 - x**s))
        total += (s - 1) * s ** (level - 1) * (both - P[level - 1] ** 2) * fade / (P[0] * (1 - P[0]))
        kept = (x**s + a * x * (1 - x ** (s - 1))) / (x**s + a * (1 - x**s))
        fade *= (kept - x * (1 - x ** (s - 1)) / (1 - x**s)) ** 2
    return float(total)


@pytest.mark.parametrize(("v", "m", "s", "L"), [(32, 1, 2, 10), (32, 8, 2, 12), (1000, 10, 4, 3), (2, 1, 2, 8)])
def test_mean_field_of_rare_changes(v, m, s, L):
    for eps in ("1e-12", "1e-9", "1e-5", "0.01", "0.5", "0.9"):
        exact = mean_field_susceptibility(eps, v, m, s, L)
        assert float(mean_field(float(eps), v, m, s, L).chi) == pytest.approx(exact, rel=1e-6)
