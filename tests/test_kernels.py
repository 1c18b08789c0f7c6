"""Every backend against the reference in plain torch, on grammars with all corners, and against enumeration.

Without a GPU the Triton kernels run in Triton's interpreter, on fewer grammars, for it is slow.
"""

import dataclasses
import importlib.util
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import hierlib as hl
from hierlib._kernels import memory
from hierlib.enumeration import brute_force
from tests.grammars import any_grammars, uneven

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TRITON = importlib.util.find_spec("triton") is not None
GPU = pytest.param(
    "gpu",
    marks=[
        pytest.mark.skipif(not TRITON, reason="Not tested: the GPU kernels; pip install triton, no GPU is needed"),
        pytest.mark.slow,  # the interpreter is
    ],
)
BACKENDS = ["torch", "cpu", GPU]
COMPILED = ["cpu", GPU]
TOLERANCE = {
    ("cpu", torch.float32): 1e-6,
    ("cpu", torch.float64): 1e-13,
    ("gpu", torch.float32): 2e-6,
    ("gpu", torch.float64): 1e-13,
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def on(backend, g, *tensors):
    """The grammar and tensors where this backend works."""
    device = DEVICE if backend == "gpu" else "cpu"
    return (g.to(device), *(t.to(device) for t in tensors)) if device != "cpu" else (g, *tensors)


def random_evidence(g, batch, seed, dtype=torch.float64, zeros=False, decades=0):
    """Evidence that some datum can produce, over `decades` powers of ten."""
    e = torch.rand(batch, g.d, g.v, dtype=dtype, generator=rng(seed))
    if zeros:
        x = hl.sample(g, batch, generator=rng(seed))[0]
        keep = torch.rand(e.shape, generator=rng(seed + 1)) < 0.4
        e = e * keep.scatter(2, x[..., None], True)
    return e * 10 ** (decades * (torch.rand(batch, g.d, 1, dtype=dtype, generator=rng(seed + 2)) - 0.5))


def assert_same(mine, exact, backend, dtype):
    tolerance = TOLERANCE[backend, dtype]
    for name in ("up", "down", "marginals"):
        for level, (a, b) in enumerate(zip(getattr(mine, name), getattr(exact, name), strict=True)):
            if (name, level) == ("up", 0):
                assert torch.equal(a.cpu(), b)
            else:
                torch.testing.assert_close(
                    a.cpu(), b, rtol=0, atol=tolerance, msg=lambda m, n=name, l=level: f"{n}[{l}]: {m}"
                )
    torch.testing.assert_close(mine.log_evidence.cpu(), exact.log_evidence, rtol=tolerance, atol=10 * tolerance)


def check_against_reference(backend, g, batch, seed, dtype, zeros, decades, with_prior):
    e = random_evidence(g, batch, seed, dtype, zeros, decades)
    prior = torch.rand(batch, g.num_classes, generator=rng(seed + 3), dtype=dtype) + 0.01 if with_prior else None
    exact = hl.infer(g, e, class_prior=prior, backend="torch")
    h, there = on(backend, g, e)
    b = hl.infer(h, there, class_prior=prior, backend=backend)
    assert_same(b, exact, backend, dtype)
    only = hl.infer(h, there, class_prior=prior, messages=False, backend=backend)
    assert only.up is None and only.down is None
    tolerance = dict(rtol=0, atol=TOLERANCE[backend, dtype])
    for a, c in zip(only.marginals, b.marginals, strict=True):
        torch.testing.assert_close(a, c, **tolerance)
    p, log_evidence = hl.class_posterior(h, there, class_prior=prior, backend=backend)
    torch.testing.assert_close(p, b.marginals[-1][:, 0], **tolerance)
    torch.testing.assert_close(log_evidence, b.log_evidence, rtol=TOLERANCE[backend, dtype], atol=0)


dtypes = st.sampled_from([torch.float32, torch.float64])
seeds = st.integers(0, 2**31 - 5)
wide = st.sampled_from([0, 20])
batches = st.one_of(st.integers(1, 5), st.sampled_from([15, 16, 17, 31, 32, 33, 70, 128]))


@given(any_grammars(max_data=10**9), batches, seeds, dtypes, st.booleans(), wide, st.booleans())
@settings(max_examples=400, deadline=None)
def test_cpu_agrees_with_the_reference(g, batch, seed, dtype, zeros, decades, with_prior):
    check_against_reference("cpu", g, batch, seed, dtype, zeros, decades, with_prior)


@pytest.mark.slow
@pytest.mark.skipif(not TRITON, reason="Not tested: the GPU kernels; pip install triton, no GPU is needed")
@given(any_grammars(max_data=200), st.integers(1, 6), seeds, dtypes, st.booleans(), wide, st.booleans())
@settings(max_examples=25, deadline=None)
def test_gpu_agrees_with_the_reference(g, batch, seed, dtype, zeros, decades, with_prior):
    check_against_reference("gpu", g, batch, seed, dtype, zeros, decades, with_prior)


@pytest.mark.parametrize(
    "s, v, m, L, classes", [(2, 32, 8, 8, 32), (2, 6, 3, 9, 11), (3, 16, 8, 4, 3), (4, 7, 5, 3, 7)]
)
@pytest.mark.parametrize("batch", [1, 5, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cpu_agrees_with_the_reference_on_deep_trees(s, v, m, L, classes, batch, dtype):
    """Deep enough that the trees are cut at every level that a small batch may ask for."""
    g = hl.random_grammar(v=v, m=m, s=s, L=L, num_classes=classes, generator=rng())
    x = hl.sample(g, batch, generator=rng())
    noise = hl.GaussianNoise(v=v, dtype=dtype)
    e = noise.evidence(noise.corrupt(x[0], 0.1, generator=rng()), 0.1)
    exact = hl.infer(g, e, backend="torch")
    b = hl.infer(g, e, backend="cpu")
    assert_same(b, exact, "cpu", dtype)
    p, log_evidence = hl.class_posterior(g, e)
    torch.testing.assert_close(p, b.marginals[-1][:, 0], rtol=0, atol=TOLERANCE["cpu", dtype])
    torch.testing.assert_close(log_evidence, b.log_evidence, rtol=TOLERANCE["cpu", dtype], atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@given(g=any_grammars(max_data=200), batch=st.integers(1, 40), seed=seeds, eps=st.floats(0, 1))
@settings(max_examples=15, deadline=None)
def test_epsilon_overlap_is_the_overlap_of_the_marginals(backend, g, batch, seed, eps):
    batch = min(batch, 3) if backend == "gpu" else batch
    x = hl.sample(g, batch, generator=rng(seed))
    each = torch.rand(batch, generator=rng(seed), dtype=torch.float64) * eps
    for e in (eps, each):
        evidence = hl.epsilon_evidence(x[0], eps=e, v=g.v, dtype=torch.float64)
        expected = hl.overlap(hl.infer(g, evidence, backend="torch"), x)
        h, e, *y = on(backend, g, torch.as_tensor(e, dtype=torch.float64), *x)
        mine = hl.epsilon_overlap(h, y, eps=e, dtype=torch.float64, backend=backend)
        torch.testing.assert_close(mine.cpu(), expected, rtol=0, atol=1e-12)


def test_beliefs_far_apart_survive_single_precision():
    """Five children that contradict every rule: a product of their beliefs would underflow float32."""
    g = hl.random_grammar(v=3, m=2, s=5, L=2, generator=rng())
    e = hl.epsilon_evidence(torch.randint(3, (40, g.d), generator=rng()), eps=1e-6, v=3, dtype=torch.float64)
    exact = hl.infer(g, e, backend="torch")
    b = hl.infer(g, e.float(), backend="cpu")
    for mine, marginal in zip(b.marginals, exact.marginals, strict=True):
        torch.testing.assert_close(mine.double(), marginal, rtol=0, atol=1e-6)
    torch.testing.assert_close(b.log_evidence.double(), exact.log_evidence, rtol=1e-6, atol=0)


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("dtype, scale", [(torch.float32, 1e-30), (torch.float32, 1e30), (torch.float64, 1e300)])
def test_the_scale_of_evidence_only_moves_log_evidence(backend, dtype, scale):
    g = hl.random_grammar(v=4, m=2, s=3, L=2, generator=rng())
    g, e = on(backend, g, random_evidence(g, 3, 1, dtype))
    a, b = hl.infer(g, e, backend=backend), hl.infer(g, e * scale, backend=backend)
    for x, y in zip(a.marginals, b.marginals, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=TOLERANCE[backend, dtype])
    shift = g.d * torch.tensor(scale, dtype=torch.float64).log()
    moved = (b.log_evidence - a.log_evidence).double().cpu()
    torch.testing.assert_close(moved, shift.expand(3), rtol=1e-6, atol=0)


def small_grammar(weighted):
    """That of `bad_evidence`; if weighted, some of its rules never occur."""
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng())
    return uneven(g, 0, zeros=True) if weighted else g


def bad_evidence(g):
    """Data 0 … 3: fine, impossible, zero at a leaf, fine; and where it is one of these, what it is called."""
    x = hl.sample(g, 4, generator=rng())[0].clone()
    if g.weights is None:
        allowed = {tuple(t) for t in g.rules[0].reshape(-1, g.s).tolist()}
        x[1, :2] = torch.tensor(next((a, b) for a in range(g.v) for b in range(g.v) if (a, b) not in allowed))
    else:  # what the rules write, but not with these weights
        written = hl.sample(dataclasses.replace(g, weights=None), 100, generator=rng())[0]
        x[1] = written[hl.log_probability(g, written).isneginf()][0]
    e = torch.nn.functional.one_hot(x, g.v).float()
    e[2, 3] = 0
    return e


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("copies", [1, 20])  # few data: cut trees; many: whole vectors
@pytest.mark.parametrize("weighted", [False, True])
def test_impossible_evidence_is_named_and_makes_no_nan(backend, copies, weighted):
    g = small_grammar(weighted)
    h, e = on(backend, g, bad_evidence(g).repeat(copies, 1, 1))
    calls = [
        lambda e: hl.infer(h, e, backend=backend),
        lambda e: hl.class_posterior(h, e, backend=backend),
        lambda e: hl.posterior_sample(h, e, generator=torch.Generator(e.device).manual_seed(0), backend=backend),
    ]
    for call in calls:
        others = f" \\(and {2 * copies - 1} more\\)"
        with pytest.raises(ValueError, match=f"datum 1{others} is impossible"):
            call(e)
        for value in (-1e-9, float("nan"), float("inf"), -float("inf"), -float("nan")):
            wrong = e.clone()
            wrong[-1, 2, 3] = value
            with pytest.raises(ValueError, match=f"finite non-negative numbers; datum {4 * copies - 1} has"):
                call(wrong)
        call(e[::4] + -0.0)  # a negative zero is a zero


@pytest.mark.parametrize("backend", COMPILED)
def test_a_class_prior_that_excludes_the_datum_is_impossible(backend):
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    x = hl.sample(g, 1, generator=rng(), classes=[1])
    h, e = on(backend, g, hl.epsilon_evidence(x[0], eps=0.0, v=4))
    with pytest.raises(ValueError, match="datum 0 is impossible"):
        hl.infer(h, e, class_prior=[1.0, 0, 0, 0], backend=backend)


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("batch", [3, 70])
def test_the_layout_of_evidence_does_not_matter(backend, batch):
    batch = 3 if backend == "gpu" else batch
    g = hl.random_grammar(v=5, m=3, s=2, L=4, generator=rng())
    e = random_evidence(g, 2 * batch, 0, torch.float32)[::2]
    g, e = on(backend, g, e)
    first = hl.infer(g, e.contiguous(), backend=backend)
    views = [
        e,
        e.permute(1, 2, 0).contiguous().permute(2, 0, 1),
        e.permute(2, 1, 0).contiguous().permute(2, 1, 0),
        e.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        torch.cat([e, e], -1)[..., : g.v],
        torch.nn.functional.pad(e.permute(1, 2, 0), (3, 2)).permute(2, 0, 1)[3:-2],
    ]
    for view in views:
        assert torch.equal(view, e)
        for a, b in zip(hl.infer(g, view, backend=backend).marginals, first.marginals, strict=True):
            assert torch.equal(a, b)
    same = hl.infer(g, e[:1].expand(batch, -1, -1), backend=backend)  # stride 0
    torch.testing.assert_close(same.marginals[0][1], first.marginals[0][0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 33, 200])
def test_results_do_not_depend_on_the_number_of_threads(batch):
    g = hl.random_grammar(v=8, m=3, s=2, L=7, generator=rng())
    e, threads = random_evidence(g, batch, 0, torch.float32), torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            b = hl.infer(g, e, backend="cpu")
            y = hl.posterior_sample(g, e, num_samples=2, generator=rng(), backend="cpu")
            results.append([*b.up, *b.down, *b.marginals, b.log_evidence, *y])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 40])
@pytest.mark.parametrize("weighted", [False, True])
def test_posterior_samples_follow_the_marginals(backend, batch, weighted):
    """Every leaf pair's joint counts against exact ones, pooled over data; and latent symbols are the leaves' parse."""
    batch, n = (2, 600) if backend == "gpu" else (batch, 4000)
    g = hl.random_grammar(v=3, m=2, s=2, L=2, num_classes=4, generator=rng())
    g = uneven(g, 1) if weighted else g
    e = random_evidence(g, batch, 5)
    h, there = on(backend, g, e)
    draw = torch.Generator(there.device).manual_seed(1)
    y = [level.cpu() for level in hl.posterior_sample(h, there, num_samples=n, generator=draw, backend=backend)]
    for a, b in zip(hl.parse(g, y[0].reshape(batch * n, -1)), y, strict=True):
        assert torch.equal(a, b.reshape(batch * n, -1))
    marginals, _ = brute_force(g, e)
    p_values = []
    for level, marginal in enumerate(marginals):
        for node in range(marginal.shape[1]):
            counts = torch.stack([(y[level][:, :, node] == a).sum(1) for a in range(marginal.shape[2])], -1)
            expected = marginal[:, node] * n
            used = expected > 5
            chi2 = ((counts - expected) ** 2 / expected)[used].sum()
            p_values.append(stats.chi2.sf(chi2, df=int((used.sum(1) - 1).sum())))
    assert min(p_values) > 1e-5
    again = hl.posterior_sample(
        h, there, num_samples=n, generator=torch.Generator(there.device).manual_seed(1), backend=backend
    )
    assert all(torch.equal(a, b.cpu()) for a, b in zip(y, again, strict=True))
    other = hl.posterior_sample(h, there, num_samples=n, generator=draw, backend=backend)
    assert not torch.equal(y[0], other[0].cpu())


def test_draws_of_nodes_data_and_samples_are_independent():
    """Flat evidence: rules are uniform, and neighbours in any direction are uncorrelated."""
    g = hl.random_grammar(v=2, m=2, s=2, L=6, num_classes=2, generator=rng())  # every tuple is a rule: fair coins
    y = hl.posterior_sample(g, torch.ones(40, g.d, 2), num_samples=50, generator=rng())[0].double() * 2 - 1
    assert abs(y.mean()) < 5 / y.numel() ** 0.5
    for dim in range(3):
        a, b = y.narrow(dim, 0, y.shape[dim] - 1), y.narrow(dim, 1, y.shape[dim] - 1)
        assert abs((a * b).mean()) < 5 / a.numel() ** 0.5


def test_the_backend_is_chosen_and_refused_with_reasons():
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    e = torch.rand(2, 4, 4, generator=rng())
    assert torch.equal(hl.infer(g, e).marginals[0], hl.infer(g, e, backend="cpu").marginals[0])
    needs = e.clone().requires_grad_()
    assert hl.infer(g, needs).log_evidence.requires_grad
    with torch.no_grad():
        assert not hl.infer(g, needs, backend="cpu").log_evidence.requires_grad
    for backend in ("cpu", "gpu"):
        with pytest.raises(ValueError, match=r'gradient.*use backend="torch"'):
            hl.infer(g, needs, backend=backend)
    with pytest.raises(ValueError, match="got meta, which holds no numbers"):
        hl.infer(_on_meta(g), e.to("meta"), backend="cpu")


def _on_meta(g):
    moved = object.__new__(hl.Grammar)
    for name in ("v", "m", "s", "L", "num_classes"):
        object.__setattr__(moved, name, getattr(g, name))
    object.__setattr__(moved, "rules", tuple(r.to("meta") for r in g.rules))
    return moved


@pytest.mark.parametrize("backend", BACKENDS)
def test_too_little_memory_is_foreseen(backend, monkeypatch):
    g = hl.random_grammar(v=4, m=2, s=2, L=8, generator=rng())
    h, e = on(backend, g, torch.ones(256, g.d, 4))
    monkeypatch.setattr(memory, "_free", [])
    monkeypatch.setattr(memory, "available", lambda device: 2**20)
    with pytest.raises(MemoryError, match=r"256 data of this grammar need .* GiB are free; pass at most \d+ data"):
        hl.infer(h, e, backend=backend)
    monkeypatch.setattr(memory, "available", lambda device: 2**10)
    with pytest.raises(MemoryError, match="not even one"):
        hl.infer(h, e, backend=backend)


def test_memory_that_is_kept_is_not_asked_for_again(monkeypatch):
    g = hl.random_grammar(v=8, m=3, s=2, L=8, generator=rng())
    e = torch.ones(512, g.d, 8)
    monkeypatch.setattr(memory, "_free", [])
    hl.infer(g, e, backend="cpu")  # its results are dropped at once
    monkeypatch.setattr(memory, "available", lambda device: 0)
    b = hl.infer(g, e, backend="cpu")
    with pytest.raises(MemoryError):
        hl.infer(g, e, backend="cpu")  # those of b are in use
    assert b.marginals[0].shape == (512, 256, 8)


def test_freed_results_are_reused_and_living_ones_are_not():
    g = hl.random_grammar(v=8, m=3, s=2, L=7, generator=rng())
    e = random_evidence(g, 64, 0, torch.float32)
    first = hl.infer(g, e, messages=False)
    copy, places = first.marginals[0].clone(), []
    for _ in range(40):
        other = hl.infer(g, torch.ones_like(e), messages=False)
        places.append(other.marginals[0].data_ptr())
        assert torch.equal(first.marginals[0], copy)
    assert first.marginals[0].data_ptr() not in places and set(places[20:]) <= set(places[:20])
    assert sum(raw.nbytes for raw in memory._free) <= memory.KEPT


@pytest.mark.slow
def test_it_compiles_where_no_cache_can_be_written():
    code = (
        "import torch, numba.core.caching as c\n"
        "c.CacheImpl._locator_classes = []\n"
        "import hierlib as hl\n"
        "g = hl.random_grammar(v=2, m=1, s=2, L=1, generator=torch.Generator().manual_seed(0))\n"
        "p, _ = hl.class_posterior(g, torch.ones(1, 2, 2))\n"
        "assert torch.allclose(p, torch.tensor([[0.5, 0.5]]))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
