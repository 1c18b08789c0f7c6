"""The pretended GPU refuses what a real one would; the library's torch path and chapters run on it to their end."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib import _devices
from hierlib.enumeration import brute_force
from hierlib.experiments import (
    blocks,
    chains,
    changes,
    channels,
    controls,
    directions,
    fragments,
    heard,
    leaf_noise,
    levels,
    messages,
    observables,
    relaxation,
    spectrum,
    tables,
    thresholds,
    transitions,
    uturns,
)
from hierlib.images import pictures
from hierlib.networks.classifier import Classifier, Training, TreeCNN
from hierlib.networks.generation import exact_denoiser, process
from hierlib.networks.layers import figure8
from hierlib.networks.learnt_walk import current, learnt_walk
from hierlib.theory import population
from tests.pretend_cuda import OnCuda, pretend_cuda, run_chapter

SIZE = dict(v=6, m=2, s=2, L=3)
UNEVEN = dict(weights=[0.75, 0.25], class_prior=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
NOISES = ((hl.GaussianNoise(6), 0.3), (hl.MaskNoise(6), 0.4), (hl.UniformNoise(6), 0.3), (hl.EpsilonNoise(6), 0.5))


def rng(device, seed=0):
    return torch.Generator(device).manual_seed(seed)


def flat(x):
    """The tensors, arrays and numbers of a result, in order."""
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, tuple | list):
        return [z for y in x if y is not None for z in flat(y)]
    return [x]


# The tool itself.

MIXED = {
    "sum": lambda here, there: there + here,
    "in place": lambda here, there: here.add_(there),
    "product": lambda here, there: there @ here,
    "in a list": lambda here, there: torch.stack([there, here]),
    "a number in a list": lambda here, there: torch.stack([there[0], here[0]]),
    "places of a tensor here": lambda here, there: here[there > 0],
    "values at places": lambda here, there: there.__setitem__(there > 0, here[:2]),
    "made here inside": lambda here, there: torch.where(there > 0, torch.zeros(3), there),
    "keyword": lambda here, there: torch.sum(there, 0, out=here),
    "generator here": lambda here, there: torch.rand(3, generator=rng("cpu"), device="cuda"),
    "generator there": lambda here, there: torch.rand(3, generator=rng("cuda")),
    "another GPU": lambda here, there: here.to("cuda:1"),
    "a module here": lambda here, there: torch.nn.Linear(3, 2)(there),
}


@pytest.mark.parametrize("name", MIXED)
def test_what_a_gpu_refuses(name):
    with pretend_cuda(), pytest.raises(RuntimeError, match=r"device|generator"):
        MIXED[name](torch.ones(3), torch.ones(3, device="cuda"))


@pytest.mark.parametrize("get", [lambda x: x.numpy(), np.asarray, lambda x: np.add(x, 1), lambda x: x.data_ptr()])
def test_memory_of_the_device_is_not_given_away(get):
    with pretend_cuda(), pytest.raises(TypeError, match=r"use Tensor.cpu\(\)"):
        get(torch.ones(3, device="cuda"))


def test_what_a_gpu_lets_mix():
    with pretend_cuda():
        there, here = torch.arange(3.0, device="cuda"), torch.arange(3.0)
        for found in (there * torch.tensor(2.0), there[here > 0], there.to(torch.float64), torch.zeros_like(there)):
            assert found.device.type == "cuda" and found.is_cuda and isinstance(found, OnCuda)
        here[1:] = there[1:] + 5
        there[:2] = here[:2]
        assert there.tolist() == [0, 6, 2] and here.device.type == "cpu"
        assert float(there.sum()) == 8 and (there > 5).any() and max(there.unbind()) == 6


def test_another_device_is_another_memory():
    with pretend_cuda():
        here = torch.zeros(3)
        for there in (here.to("cuda"), here.cuda(), torch.as_tensor(here, device="cuda"), here.to(device="cuda")):
            back = there.cpu()
            there += 1
            assert not here.any() and not back.any() and there.to("cuda") is there
            assert (there.device, back.device) == (torch.device("cuda:0"), torch.device("cpu"))


def test_gradients_and_modules_are_of_the_device():
    with pretend_cuda():
        h = torch.ones(3, device="cuda", requires_grad=True)
        (slope,) = torch.autograd.grad((h**3).sum(), h)
        net = torch.nn.Linear(3, 1).to("cuda")
        net(h).sum().backward()
        assert slope.tolist() == [3, 3, 3] and net.weight.grad.device == h.grad.device == net.weight.device == h.device


def test_nothing_is_left_of_it():
    before = torch.Generator, torch.cuda.is_available, dict(hl.inference.DEVICES), hl.inference._backend
    with pretend_cuda():
        assert torch.cuda.is_available() and _devices.chosen().type == "cuda"
    assert before == (torch.Generator, torch.cuda.is_available, dict(hl.inference.DEVICES), hl.inference._backend)
    assert torch.ones(2).device.type == "cpu"


# What runs on it.


def public(device, uneven):
    """Every public function of the torch path, with its reference as the backend."""
    g = hl.random_grammar(**SIZE, **uneven, generator=rng(device))
    x = hl.sample(g, 5, generator=rng(device))
    yield g.rules, x, hl.parse(g, x[0]), g.to(device).rules
    tiles = torch.linspace(0, 255, 6 * 3 * 4).to(torch.uint8).reshape(6, 3, 2, 2)
    squares = hl.random_grammar(v=6, m=2, s=4, L=2, generator=rng(device))
    start = pictures.draw(pictures.Alphabet(tiles), hl.sample(squares, 3, generator=rng(device))[0])
    for known in (None, 0, 1):
        turn = pictures.uturn(squares, pictures.Alphabet(tiles), start, 1.0, generator=rng(device), levels=known)
        yield turn.seen, [x * 0 for x in (*turn.symbols, turn.end)]  # the compiled kernels draw in another order
    yield pictures.read(pictures.Alphabet(tiles), start)
    for noise, t in (*NOISES, (hl.GaussianNoise(6, embedding=tiles.flatten(1).double() / 99), 0.3)):
        e = noise.evidence(noise.corrupt(x[0], t, generator=rng(device)), t) if noise != NOISES[3][0] else None
        e = hl.epsilon_evidence(x[0], eps=t, v=6) if e is None else e
        for seen in (e, e.half(), e.double()):
            b = hl.infer(g, seen, backend="torch")
            yield b, hl.overlap(b, x), hl.infer(g, seen, messages=False, class_prior=[1.0] * 6, backend="torch")
            yield hl.class_posterior(g, seen, backend="torch"), hl.next_leaf(g, seen, backend="torch")
            yield hl.posterior_sample(g, seen, num_samples=2, generator=rng(device), backend="torch")
    yield hl.epsilon_overlap(g, x, eps=0.4, backend="torch")
    yield hl.susceptibility(g, hl.epsilon_evidence(x[0], eps=0.4, v=6), x[0])
    yield brute_force(g, e)


@pytest.mark.parametrize("uneven", [{}, UNEVEN], ids=["even", "uneven"])
def test_the_public_functions_stay_on_the_device_and_give_the_same(uneven):
    here = [x for part in public("cpu", uneven) for x in flat(part)]
    with pretend_cuda(kernels=False):
        there = [x for part in public("cuda", uneven) for x in flat(part)]
        assert len(here) == len(there) > 100
        assert all(y.device.type == "cuda" for y in there)
        for x, y in zip(here, there):
            torch.testing.assert_close(x, y.cpu(), rtol=1e-3 if x.dtype == torch.half else 1e-5, atol=1e-6)


def measured(device):
    """What chapters measure: each as (name, call)."""
    run = SIZE | dict(draws=4, data=2)
    few = run | dict(draws=2)
    gauss, mask, uniform, epsilon = (noise for noise, _ in NOISES)
    g = hl.random_grammar(**SIZE, generator=rng(device))
    x = hl.sample(g, 30, generator=rng(device))
    one = [y[:1] for y in x]
    seen = mask.evidence(mask.corrupt(x[0], 0.5, generator=rng(device)), 0.5)
    turn = uturns.uturn(g, x[0], gauss, [0.1, 0.3, 0.9], generator=rng(device))
    counts = tables.shell_counts(40, v=6, m=2, s=2, generator=rng(device))
    leaves = population.leaf_sampler(gauss, 0.3)
    pair = torch.full((6, 6), 1 / 36, dtype=torch.float64, device=device)
    net = TreeCNN(6, 2, 3, 8, 6).reset_parameters(rng("cpu"))
    uneven = hl.random_grammar(**SIZE, **UNEVEN, generator=rng(device))
    tiny = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng(device))
    seen_by = Classifier(g.to("cpu"), net, Training(width=8), [{}])
    return {
        "level_curves": lambda: uturns.level_curves(gauss, [0.1, 0.4], **run, generator=rng(device)),
        "told": lambda: levels.told_the_class(uniform, 0.4, **run, seed=1, device=device),
        "class_curves": lambda: uturns.class_curves(epsilon, [0.1, 0.4], **run, generator=rng(device)),
        "seen_turn": lambda: [_devices.array(y) for y in uturns.seen_turn(g, x, gauss, 0.4, seed=1).belief],
        "survivors": lambda: uturns.survivors(gauss, 0.4, **run, generator=rng(device)),
        "two_ways": lambda: uturns.two_ways(x, {1: [y[0] for y in turn]}, {1: [y[1] for y in turn]}),
        "first_in_stages": lambda: levels.first_in_stages(x, turn) or 0,
        "typical_turn": lambda: levels.typical_turn(gauss, [0.1, 0.4], 1, **SIZE, generator=rng(device)),
        "message_curves": lambda: messages.message_curves([0.3], **run, generator=rng(device)),
        "single_messages": lambda: messages.single_messages([0.3], 2, **SIZE, draws=2, generator=rng(device)),
        "heard": lambda: heard.heard(gauss, [0.2], 0.3, **SIZE, draws=2, several=2, generator=rng(device)),
        "corrected_leaves": lambda: heard.corrected_leaves(g, x, seen)[0],
        "clocks": lambda: spectrum.clocks(mask, [0.3], **few, generator=rng(device)),
        "named_rightly": lambda: spectrum.named_rightly(mask, 0.3, **few, generator=rng(device)),
        "changes": lambda: changes.curves(epsilon, [0.2, 0.5], **few, samples=2, generator=rng(device)),
        "kept_at": lambda: [_devices.array(y) for y in blocks.kept_at(g, x, [0.5])[0]],
        "count_gap": lambda: blocks.count_gap(g, seen, x[0], num_samples=50, generator=rng(device)),
        "shares": lambda: directions.shares_of_top(6, [2], 2, [2, 3], draws=2, generator=rng(device)),
        "without_tree": lambda: controls.without_tree(pair, [4, 8], generator=rng(device), data=2)[:3],
        "density": lambda: population.density_evolution(leaves, m=2, s=2, L=2, size=60, generator=rng(device)),
        "weak_noise": lambda: thresholds.weak_noise(
            epsilon, 0.1, v=6, m=2, s=2, levels=2, depths=[2], draws=2, data=2, generator=rng(device), pool=30
        ),
        "fates": lambda: channels.fates(g, one, {"a": (gauss, [0.2])}, generator=rng(device)),
        "calibration": lambda: observables.calibration(seen[:, 0].double(), x[0][:, 0], 3).belief,
        "pair_information": lambda: observables.pair_information(g, n=20, generator=rng(device)),
        "leaf_numbers": lambda: leaf_noise.leaf_numbers(uniform, [0.2, 0.4], leaves=50, generator=rng(device)),
        "figure8": lambda: [
            y.values for y in figure8([seen_by], [0.3], n=8, seed=1, rows=9, probe_eps=[0.3], device=device).values()
        ],
        "uneven": lambda: [
            [_devices.array(y) for y in (*hl.infer(h, seen).marginals, hl.next_leaf(h, seen))] for h in (g, uneven)
        ],
        "averaging": lambda: _devices.array(tables.messages(counts.double(), 0.3)),
        "pool_of_beliefs": lambda: population.pool_of_beliefs(
            [0.3, 0.6], hl.zipf(2, 1.0).to(device), v=6, s=2, L=3, size=50, generator=rng(device)
        ),
        "correlations_of_chains": lambda: relaxation.correlations_of_chains(
            mask, [0.2, 0.4], **SIZE, draws=2, chains=3, steps=4, generator=rng(device)
        ),
        "mean_reach": lambda: relaxation.mean_reach(**SIZE, draws=3, generator=rng(device)),
        "slowest_modes": lambda: relaxation.slowest_modes(0.2, v=4, m=2, s=2, L=2, draws=2, generator=rng(device)),
        "chain": lambda: [_devices.array(y) for y in walked(g, x, device)],
        "transitions": lambda: [_devices.array(y) for y in passages(tiny, device)],
    }


def walked(g, x, device):
    """Chains of U-turns, exact and by a denoiser."""
    mask = NOISES[1][0]
    turns = chains.chain(g, x[0], mask, 0.4, steps=3, generator=rng(device))
    yield from (*turns, chains.autocorrelation(g, turns), chains.relaxation_times(chains.autocorrelation(g, turns)))
    found = learnt_walk(exact_denoiser(g), g, process("mask", 6), x[0], 0.5, 20, generator=rng(device))
    yield from (*flat(found), *map(float, current(found.classes)))


def passages(g, device):
    """The matrices of such chains, and what they say."""
    piece = fragments.fragments(g)
    yield piece
    every = [transitions.kernel(g, noise, t) for noise, t in ((hl.MaskNoise(4), 0.3), (hl.UniformNoise(4), 0.4))]
    drawn = transitions.sampled_kernel(g, hl.GaussianNoise(4), 0.5, 20, generator=rng(device))
    for each in (*every, transitions.erasure_kernel(g, 1), drawn):
        modes = transitions.spectrum(each)
        yield from (each.matrix, each.law, modes.values, transitions.correlations(each, 3))
        yield from transitions.best_of_one_symbol(each)
        yield float(transitions.explained(modes.functions[:, 1], piece, each.law))


@pytest.mark.slow
@pytest.mark.parametrize("name", measured("cpu"))
def test_what_chapters_measure_comes_back_to_the_processor(name):
    expected = flat(measured("cpu")[name]())
    with pretend_cuda():
        found = flat(measured("cuda")[name]())
        assert len(found) == len(expected)
        for x, y in zip(expected, found):
            assert not isinstance(y, OnCuda)
            if isinstance(x, torch.Tensor | np.ndarray | float):
                np.testing.assert_allclose(np.asarray(y, float), np.asarray(x, float), rtol=1e-3, atol=1e-4)


# Sizes at which a chapter takes a minute or so; `python -m tests.pretend_cuda SLUG NAME=VALUE …` runs any.
FEW = dict(v="8", m="2", L="4", draws="4", data="2")
CHAPTERS = {
    "hierlib-in-ten-minutes": dict(L="4"),
    "averaging-over-grammars": dict(draws="8", L="4", tables="2000"),
    "uneven-rules": dict(v="8", m="2", L="5", draws="8"),
    "the-frozen-walk": FEW,
}
# The others all together take a quarter of an hour: run by hand what a change may send to the wrong device.
BY_HAND = {
    "belief-propagation": dict(draws="5"),
    "half-way-and-back": dict(draws="8", data="1", runs="200", L="4"),
    "lost-all-at-once": FEW | dict(draws="8"),
    "going-down": FEW | dict(draws="12", tables="1000"),
    "from-time-to-noise": FEW | dict(draws="12", L="5", pool="50"),
    "what-the-network-sees": dict(data="50", rows="100"),
    "changes-come-in-blocks": FEW,
    "what-a-spectrum-cannot-see": dict(draws="4", data="2", L="4"),
    "learning-by-denoising": dict(strings="100", data="50"),
    "two-words-at-once": FEW | dict(L="5"),
    "two-slopes": dict(draws="4", data="2", L="5", tested="100"),
    "parts-in-pictures": dict(data="20"),
    "index": dict(L="4"),
    "laboratory": dict(draws="2", L="4"),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("slug", CHAPTERS)
def test_a_chapter_runs_there(slug, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    facts = run_chapter(slug, CHAPTERS[slug])
    assert facts["Device"].startswith("a pretended GPU")
