"""What the next leaf is: against the list of all data, prefix by prefix, on every backend; and strings drawn so."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import hierlib as hl
from hierlib._kernels import memory
from hierlib.enumeration import all_data, derivation_weights
from hierlib.probability import prior_marginals
from tests.grammars import any_grammars, grammars
from tests.test_kernels import BACKENDS, COMPILED, TOLERANCE, TRITON, bad_evidence, on, random_evidence, small_grammar

DOUBLE = dict(rtol=0, atol=1e-10)
seeds = st.integers(0, 2**31 - 5)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def one_hot(x, v):
    return torch.nn.functional.one_hot(x, v).double()


def by_enumeration(g, evidence, class_prior=None):
    """Each leaf given the evidence of those before it: with that of the others left blank."""
    x, out = all_data(g), []
    for n in range(g.d):
        seen = torch.where(torch.arange(g.d)[:, None] < n, evidence, 1.0)
        weight = derivation_weights(g, seen, class_prior=class_prior, x=x)
        out.append((weight / weight.sum(1, keepdim=True)) @ one_hot(x[0][:, n], g.v))
    return torch.stack(out, 1)


@given(any_grammars(max_data=600), st.integers(1, 3), seeds, st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_prefix_against_enumeration(g, batch, seed, zeros, with_prior):
    e = random_evidence(g, batch, seed, zeros=zeros)
    prior = torch.rand(batch, g.num_classes, generator=rng(seed), dtype=torch.float64) + 0.01 if with_prior else None
    exact = by_enumeration(g, e, prior)
    for backend in ("torch", "cpu"):
        torch.testing.assert_close(hl.next_leaf(g, e, class_prior=prior, backend=backend), exact, **DOUBLE)


@given(grammars(), seeds)
@settings(max_examples=60, deadline=None)
def test_probabilities_of_all_leaves_multiply_to_that_of_the_datum(g, seed):
    """Σ ln p(x_n | x_<n) = ln p(x) for each datum, and the entropies of all places sum to that of the data."""
    x = all_data(g)[0]
    p = hl.next_leaf(g, one_hot(x, g.v))
    torch.testing.assert_close(p.gather(2, x[..., None])[..., 0].log().sum(1), hl.log_probability(g, x), **DOUBLE)
    assert torch.special.entr(p).sum((1, 2)).mean().item() == pytest.approx(hl.entropy(g))
    if g.d > 1:  # what stands at a place and to its right makes no difference
        other = x.clone()
        other[:, g.d // 2 :] = hl.sample(g, len(x), generator=rng(seed))[0][:, g.d // 2 :]
        e = 0.9 * one_hot(other, g.v) + 0.1
        same = hl.next_leaf(g, torch.where(torch.arange(g.d)[:, None] < g.d // 2, 0.9 * one_hot(x, g.v) + 0.1, e))
        first = hl.next_leaf(g, 0.9 * one_hot(x, g.v) + 0.1)
        torch.testing.assert_close(same[:, : g.d // 2 + 1], first[:, : g.d // 2 + 1], **DOUBLE)


@given(grammars())
@settings(max_examples=30, deadline=None)
def test_where_nothing_is_seen_it_is_the_prior(g):
    p = hl.next_leaf(g, torch.ones(1, g.d, g.v, dtype=torch.float64))[0]
    torch.testing.assert_close(p, prior_marginals(g)[0], **DOUBLE)


def check_against_reference(backend, g, batch, seed, dtype, zeros, decades, with_prior):
    e = random_evidence(g, batch, seed, dtype, zeros, decades)
    prior = torch.rand(batch, g.num_classes, generator=rng(seed + 3), dtype=dtype) + 0.01 if with_prior else None
    exact = hl.next_leaf(g, e, class_prior=prior, backend="torch")
    h, there = on(backend, g, e)
    mine = hl.next_leaf(h, there, class_prior=prior, backend=backend)
    assert mine.shape == (batch, g.d, g.v) and mine.dtype == dtype and mine.device == there.device
    torch.testing.assert_close(mine.cpu(), exact, rtol=0, atol=TOLERANCE[backend, dtype])


dtypes = st.sampled_from([torch.float32, torch.float64])
wide = st.sampled_from([0, 20])
batches = st.one_of(st.integers(1, 5), st.sampled_from([15, 16, 17, 31, 32, 33, 70, 128]))


@given(any_grammars(max_data=10**9), batches, seeds, dtypes, st.booleans(), wide, st.booleans())
@settings(max_examples=80, deadline=None)
def test_cpu_agrees_with_the_reference(g, batch, seed, dtype, zeros, decades, with_prior):
    check_against_reference("cpu", g, batch, seed, dtype, zeros, decades, with_prior)


@pytest.mark.slow
@pytest.mark.skipif(not TRITON, reason="Not tested: the GPU kernels; pip install triton, no GPU is needed")
@given(any_grammars(max_data=200), st.integers(1, 3), seeds, dtypes, st.booleans(), wide, st.booleans())
@settings(max_examples=12, deadline=None)
def test_gpu_agrees_with_the_reference(g, batch, seed, dtype, zeros, decades, with_prior):
    check_against_reference("gpu", g, batch, seed, dtype, zeros, decades, with_prior)


@pytest.mark.parametrize("s, v, m, L, classes", [(2, 6, 3, 9, 11), (3, 16, 8, 4, 3), (4, 7, 5, 3, 7)])
@pytest.mark.parametrize("batch", [1, 5, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cpu_agrees_with_the_reference_on_deep_trees(s, v, m, L, classes, batch, dtype):
    """Deep enough that the trees are cut at every level that a small batch may ask for."""
    g = hl.random_grammar(v=v, m=m, s=s, L=L, num_classes=classes, generator=rng())
    noise = hl.GaussianNoise(v=v, dtype=dtype)
    e = noise.evidence(noise.corrupt(hl.sample(g, batch, generator=rng())[0], 0.1, generator=rng()), 0.1)
    exact = hl.next_leaf(g, e, backend="torch")
    torch.testing.assert_close(hl.next_leaf(g, e), exact, rtol=0, atol=TOLERANCE["cpu", dtype])


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("batch", [3, 70])
def test_the_layout_of_evidence_does_not_matter(backend, batch):
    batch = 3 if backend == "gpu" else batch
    g = hl.random_grammar(v=5, m=3, s=2, L=4, generator=rng())
    g, e = on(backend, g, random_evidence(g, batch, 0, torch.float32))
    first = hl.next_leaf(g, e, backend=backend)
    for view in (e.permute(1, 2, 0).contiguous().permute(2, 0, 1), e.permute(2, 1, 0).contiguous().permute(2, 1, 0)):
        assert torch.equal(hl.next_leaf(g, view, backend=backend), first)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("copies", [1, 20])  # few data: cut trees; many: whole vectors
@pytest.mark.parametrize("weighted", [False, True])
def test_bad_evidence_is_named_and_makes_no_nan(backend, copies, weighted):
    g = small_grammar(weighted)
    h, e = on(backend, g, bad_evidence(g).repeat(copies, 1, 1))
    with pytest.raises(ValueError, match=f"datum 1 \\(and {2 * copies - 1} more\\) is impossible"):
        hl.next_leaf(h, e, backend=backend)
    wrong = e.clone()
    wrong[-1, 2, 3] = float("nan")
    with pytest.raises(ValueError, match=f"finite non-negative numbers; datum {4 * copies - 1} has"):
        hl.next_leaf(h, wrong, backend=backend)
    with pytest.raises(ValueError, match="expected shape"):
        hl.next_leaf(h, e[:, :3], backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_prefixes_that_leave_the_range_of_single_precision_are_right(backend):
    """Leaves that hardly agree with any rule: a level's belief falls below 1e-38, and later leaves leave only that."""
    g = hl.random_grammar(v=4, m=2, s=3, L=2, generator=rng())
    x = hl.sample(g, 3, generator=rng())[0]
    e = one_hot(x, 4)
    e[:, : g.s] = 1e-22 * e[:, : g.s] + one_hot((x[:, : g.s] + 1) % 4, 4)
    exact = hl.next_leaf(g, e, backend="torch")
    torch.testing.assert_close(exact, by_enumeration(g, e), **DOUBLE)
    h, there = on(backend, g, e.float())
    torch.testing.assert_close(hl.next_leaf(h, there, backend=backend).cpu().double(), exact, rtol=0, atol=1e-6)


def test_derivatives_are_those_of_the_numbers():
    g = hl.random_grammar(v=3, m=2, s=2, L=2, num_classes=2, generator=rng())
    e = random_evidence(g, 1, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: hl.next_leaf(g, e), e)
    assert torch.autograd.gradgradcheck(lambda e: hl.next_leaf(g, e).square().sum(), e)
    (slope,) = torch.autograd.grad(hl.next_leaf(g, e)[0, 3].square().sum(), e)
    assert (slope[0, 3] == 0).all() and (slope[0, 2] != 0).any()
    with pytest.raises(ValueError, match=r'gradient.*use backend="torch"'):
        hl.next_leaf(g, e, backend="cpu")


def test_half_precision_and_too_little_memory(monkeypatch):
    g = hl.random_grammar(v=4, m=2, s=2, L=8, generator=rng())
    e = random_evidence(g, 256, 0, torch.float32)
    half = hl.next_leaf(g, e[:3].half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), hl.next_leaf(g, e[:3].half().float()), rtol=0, atol=1e-3)
    monkeypatch.setattr(memory, "_free", [])
    monkeypatch.setattr(memory, "available", lambda device: 2**18)
    for backend in ("torch", "cpu"):
        with pytest.raises(MemoryError, match="pass at most"):
            hl.next_leaf(g, e.repeat(8, 1, 1), backend=backend)


def counted(y, x, p):
    """The p-value of drawn strings against their probabilities; all of them must be listed."""
    place = {tuple(row): i for i, row in enumerate(x.tolist())}
    which = torch.tensor([place[tuple(row)] for row in y.tolist()])
    count, expected = torch.bincount(which, minlength=len(x)).double(), p * len(y)
    assert (expected > 5).all() and (count[p == 0] == 0).all()
    return stats.chisquare(count.numpy(), expected.numpy()).pvalue


@pytest.mark.parametrize(
    "v, m, s, L, classes", [(3, 2, 2, 2, 4), (2, 2, 2, 3, 2), (2, 2, 3, 2, 1), (4, 1, 2, 3, 3), (3, 3, 2, 2, 2)]
)
def test_strings_drawn_leaf_by_leaf_are_data(v, m, s, L, classes):
    g = hl.random_grammar(v=v, m=m, s=s, L=L, num_classes=classes, generator=rng())
    x = all_data(g)[0]
    y = hl.sample_left_to_right(g, 40 * len(x), generator=rng(1))
    assert counted(y, x, hl.log_probability(g, x).exp()) > 1e-4
    again = hl.sample_left_to_right(g, 40 * len(x), generator=rng(1))
    assert torch.equal(y, again) and not torch.equal(y, hl.sample_left_to_right(g, len(y), generator=rng(2)))


@pytest.mark.parametrize("window", [0, 1, 2, 3])
def test_a_window_is_all_that_is_seen(window):
    """The law of the sampler is the product of p(leaf | its window), each taken from the list of all data."""
    g = hl.random_grammar(v=3, m=2, s=2, L=2, generator=rng(2))  # not all tuples are rules, so leaves are dependent
    data = all_data(g)[0]
    x = torch.cartesian_prod(*[torch.arange(g.v)] * g.d)
    p = torch.ones(len(x), dtype=torch.float64)
    for n in range(g.d):
        before = slice(max(0, n - window), n)
        fits = (x[:, None, before] == data[None, :, before]).all(2).double()
        p *= (fits @ one_hot(data[:, n], g.v)).gather(1, x[:, n : n + 1])[:, 0] / fits.sum(1).clamp_min(1)
    assert p.sum().item() == pytest.approx(1)
    likely = p > 0
    y = hl.sample_left_to_right(g, int(12 / p[likely].min()), window=window, generator=rng(3))
    assert counted(y, x[likely], p[likely]) > 1e-4


def test_blocks_are_legal_once_a_window_holds_all_but_one_of_their_leaves():
    g = hl.random_grammar(v=8, m=3, s=2, L=4, generator=rng())
    for window, level in ((3, 2), (7, 3), (15, 4)):
        y = hl.sample_left_to_right(g, 60, window=window, generator=rng(1))
        blocks = hl.Grammar(8, 3, 2, level, 8, g.rules[:level])
        assert hl.log_probability(blocks, y.reshape(-1, 2**level)).isfinite().all()
        assert level == 4 or not hl.log_probability(g, y).isfinite().all()


def test_what_cannot_be_drawn_is_refused():
    g = hl.random_grammar(v=3, m=2, s=2, L=2, generator=rng())
    for bad in (dict(n=0), dict(n=1.0), dict(n=1, window=-1), dict(n=1, window=1.5), dict(n=1, generator=3)):
        with pytest.raises(ValueError, match=r"(n|window|generator): expected"):
            hl.sample_left_to_right(g, **{"generator": rng(), **bad})


@pytest.mark.slow
@pytest.mark.skipif(not TRITON, reason="Not tested: the GPU kernels; pip install triton, no GPU is needed")
def test_the_gpu_kernel_compiles_to_machine_code():
    """Without a GPU at hand: for an H200, compute capability 9.0, by Triton's own assembler."""
    code = (
        "import itertools\n"
        "import triton\n"
        "from triton.backends.compiler import GPUTarget\n"
        "from hierlib._kernels.causal.gpu import _told\n"
        "for real, weighted in itertools.product(('*fp32', '*fp64'), (False, True)):\n"
        "    known = dict.fromkeys(('up', 'above', 'below', 'weights'), real)\n"
        "    known |= dict.fromkeys(('lists', 'ends'), '*i32')\n"
        "    fixed = dict(S=3, BLOCK=128, ROWS=8) | ({} if weighted else {'weights': None})\n"
        "    types = {n: 'constexpr' if n in fixed else known.get(n, 'i32') for n in _told.arg_names}\n"
        "    values = {(_told.arg_names.index(n),): x for n, x in fixed.items()}\n"
        "    source = triton.compiler.ASTSource(fn=_told, signature=types, constexprs=values)\n"
        "    assert triton.compile(source, target=GPUTarget('cuda', 90, 32)).asm['cubin']\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200, env=environment)
