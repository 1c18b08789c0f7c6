"""Devices and types come from the tensors: torch's defaults change nothing, and what is read by address is checked."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._device import _device_constructors

import hierlib as hl
from tests.test_kernels import BACKENDS, on

SOURCES = sorted(Path(hl.__file__).parent.rglob("*.py"))
MAKERS = {function.__name__ for function in _device_constructors()}
LAYERS = {
    name
    for name, kind in vars(torch.nn).items()
    if inspect.isclass(kind) and "device" in inspect.signature(kind.__init__).parameters
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def calls():
    """Every call of a method in the library: (where it stands, what owns the method, its name, the words given)."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                words = {word.arg for word in node.keywords}
                yield f"{path.name}:{node.lineno}", ast.unparse(node.func.value), node.func.attr, words


def test_no_tensor_is_made_where_torch_would_put_it():
    """Every call of torch that makes one from nothing says on which device; so do layers, which make their weights."""
    assert {"empty", "tensor", "as_tensor", "arange", "randperm"} < MAKERS and {"Linear", "LayerNorm"} < LAYERS
    silent = [
        (where, name)
        for where, owner, name, words in calls()
        if ((owner == "torch" and name in MAKERS) or (owner in ("nn", "torch.nn") and name in LAYERS))
        and "device" not in words
    ]
    assert not silent


def test_no_floating_tensor_is_of_the_type_that_torch_would_take():
    silent = [
        (where, name)
        for where, owner, name, words in calls()
        if owner == "torch"
        and name in {"empty", "ones", "zeros", "rand", "randn", "eye", "linspace", "logspace"}
        and "dtype" not in words
    ]
    assert not silent


PROGRAM = """
import sys
import numpy, torch
import hierlib as hl
from hierlib import diffusion
from hierlib.enumeration import brute_force
from hierlib.experiments import controls, heard, leaf_noise, messages, observables, spectrum, tables, uturns
from hierlib.images import classifier, mixture, schedule as schedules, unet
from hierlib.networks import classifier as networks, denoiser
from hierlib.text import model as text
from hierlib.theory import population
from tests.test_devices import changes_curves

rng = lambda: torch.Generator().manual_seed(0)
size = dict(v=8, m=3, s=2, L=3)


def flat(x):
    if isinstance(x, tuple | list):
        return [z for y in x if y is not None for z in flat(y)]
    return [torch.from_numpy(x) if isinstance(x, numpy.ndarray) else x]


def everything():
    g = hl.random_grammar(**size, generator=rng())
    x = hl.sample(g, 40, generator=rng())
    yield from g.rules
    yield from x
    yield from hl.parse(g, x[0])
    for noise, t in ((hl.GaussianNoise(8), 0.2), (hl.MaskNoise(8), 0.4), (hl.UniformNoise(8), 0.3)):
        x_t = noise.corrupt(x[0], t, generator=rng())
        yield x_t
        evidence = noise.evidence(x_t, t)
        yield evidence
        for e in (evidence, evidence[:3], evidence.half()):
            yield hl.infer(g, e)
            yield hl.infer(g, e, messages=False, class_prior=[1.0] * 8)
            yield hl.class_posterior(g, e)
            yield hl.posterior_sample(g, e, num_samples=2, generator=rng())
        yield hl.infer(g, evidence, backend="torch")
        yield uturns.level_curves(noise, [t], **size, draws=1, data=3, generator=rng())
        yield uturns.uturn(g, x[0], noise, [t], generator=rng())
        yield population.density_evolution(
            population.leaf_sampler(noise, t), m=3, s=2, L=2, size=50, generator=rng()
        )
    yield changes_curves(size, rng)
    yield hl.epsilon_overlap(g, x, eps=0.4)
    e = hl.epsilon_evidence(x[0], eps=0.4, v=8)
    yield hl.susceptibility(g, e[:3], x[0][:3])
    yield brute_force(g, e[:1])
    yield messages.message_curves([0.3], **size, draws=1, data=3, generator=rng())
    yield spectrum.clocks(hl.MaskNoise(8), [0.3], **size, draws=1, data=3, generator=rng())
    yield spectrum.information(g, e)
    yield spectrum.census(g, e)
    yield observables.pair_information(g, n=20, generator=rng())
    yield heard.heard(hl.UniformNoise(8), [0.2], 0.3, **size, draws=1, several=2, generator=rng())
    yield leaf_noise.leaf_numbers(hl.UniformNoise(8), [0.2, 0.4], leaves=50, generator=rng())
    counts = tables.shell_counts(5, v=8, m=3, s=2, generator=rng())
    yield counts, tables.messages(counts.double(), 0.3)
    pair = torch.full((8, 8), 1 / 64, dtype=torch.float64, device="cpu")
    yield controls.without_tree(pair, [4, 8], generator=rng(), data=2)[:3]
    schedule = diffusion.ddpm(30)
    x_k = diffusion.ddpm_noise(8, schedule).corrupt(x[0], 9, generator=rng())
    yield diffusion.reverse_diffusion(g, x_k, 9, generator=rng(), scheduler=schedule)
    yield networks.TreeCNN(8, 2, 3, 16, 8).reset_parameters(rng())(x[0])
    yield denoiser.TreeUNet(8, 2, 3, 16).reset_parameters(rng())(e)
    yield list(classifier.ImageCNN(1, 2).parameters())[0].shape
    yield list(text.MaskedModel(text.Size(9, 6, 8, 2, 1)).parameters())[0].shape
    yield schedules.exact_scheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod
    yield [weight.device for weight in unet.unet(unet.small_config(1, 8, (8, 8))).parameters()]
    yield mixture.draw(mixture.clouds(4, 2.0, generator=rng()), 5, generator=rng())


before = flat(list(everything()))
for other in sys.argv[1:]:
    if other == "meta":
        torch.set_default_device("meta")
    else:
        torch.set_default_dtype(getattr(torch, other))
    after = flat(list(everything()))
    assert len(before) == len(after)
    for i, (a, b) in enumerate(zip(before, after)):
        same = torch.equal(a, b) and a.dtype == b.dtype if isinstance(a, torch.Tensor) else a == b
        assert same, (other, i, a, b)
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
print(len(before), "the same")
"""


def changes_curves(size, rng):
    from hierlib.experiments import changes

    return changes.curves(hl.MaskNoise(8), [0.2, 0.5], **size, draws=1, data=3, samples=2, generator=rng())


@pytest.mark.slow
@pytest.mark.parametrize("default", ["meta", "float64", "bfloat16"])
def test_the_defaults_of_torch_change_nothing(default):
    """In a process of its own: where addresses are taken of tensors that are elsewhere, it dies."""
    pytest.importorskip("diffusers")
    done = subprocess.run([sys.executable, "-c", PROGRAM, default], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "the same" in done.stdout


def data():
    g = hl.random_grammar(v=5, m=2, s=2, L=3, generator=rng())
    return g, hl.sample(g, 33, generator=rng())


@pytest.mark.parametrize("backend", BACKENDS)
def test_views_that_stand_for_other_numbers_than_their_memory(backend):
    """The imaginary part of a conjugate is a view of memory that holds the negative."""
    g, x = data()
    n = 3 if backend == "gpu" else 33
    e = hl.epsilon_evidence(x[0][:n], eps=0.4, v=5)
    h, e = on(backend, g, e)
    negated = torch.complex(torch.zeros_like(e), -e).conj().imag
    assert negated.is_neg() and torch.equal(negated, e)
    for a, b in zip(hl.infer(h, negated, backend=backend).marginals, hl.infer(h, e, backend=backend).marginals):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [3, 33])
def test_memory_that_is_not_aligned_to_its_numbers(dtype, n):
    g, x = data()
    e = hl.epsilon_evidence(x[0][:n], eps=0.4, v=5, dtype=dtype).contiguous()
    raw = bytearray(3 + e.numel() * e.element_size())
    raw[3:] = e.numpy().tobytes()
    odd = torch.frombuffer(raw, dtype=dtype, offset=3).view(e.shape)
    assert odd.data_ptr() % e.element_size()
    assert all(map(torch.equal, hl.infer(g, odd).marginals, hl.infer(g, e).marginals))
    noise = hl.GaussianNoise(5, dtype=dtype)
    torch.testing.assert_close(noise.evidence(odd, 0.3), noise.evidence(e, 0.3))


def test_data_elsewhere_are_refused_by_name():
    g, x = data()
    e = hl.epsilon_evidence(x[0], eps=0.4, v=5)
    away = [level.to("meta") for level in x]
    for call, name in (
        (lambda: hl.infer(g, e.to("meta")), "evidence: expected the grammar's device, cpu, got meta"),
        (lambda: hl.class_posterior(g, e.to("meta")), "evidence: expected the grammar's device"),
        (lambda: hl.epsilon_overlap(g, [x[0], *away[1:]], eps=0.4), r"x\[1\]: expected the grammar's device"),
        (lambda: hl.infer(g, e.to_sparse()), "evidence: expected a dense tensor"),
    ):
        with pytest.raises(ValueError, match=name):
            call()


def test_rules_that_are_written_to_are_read_again():
    g, x = data()
    e = hl.epsilon_evidence(x[0], eps=0.4, v=5)
    first = hl.infer(g, e, backend="cpu")
    g.rules[0].copy_(g.rules[0].flip(0).clone())
    assert not torch.equal(hl.infer(g, e, backend="cpu").marginals[1], first.marginals[1])
    torch.testing.assert_close(
        hl.infer(g, e, backend="cpu").marginals, hl.infer(g, e, backend="torch").marginals, rtol=0, atol=1e-6
    )
    g.rules[0][0, 0, 0] = 10**6  # far outside of every message
    with pytest.raises(ValueError, match=r"rules\[0\]: expected symbols in 0…4"):
        hl.infer(g, e, backend="cpu")
