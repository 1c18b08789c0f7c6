"""A nan or an infinity ends what it comes into, with its place named: no loop carries it on, no rule decides of it."""

import math
from dataclasses import replace

import pytest
import torch

import hierlib as hl
from hierlib import _finite, diffusion
from hierlib._storage import read_tensors, write_tensors
from hierlib.book.page import glue
from hierlib.experiments import changes, controls, curves, spectrum
from hierlib.images import classifier, inversion, patches, probe, quality
from hierlib.images.sampler import UTurns
from hierlib.networks import classifier as cnn
from hierlib.networks import denoiser, generation, learning
from hierlib.networks import probe as layers
from hierlib.networks.fit import Schedule, fit
from hierlib.text import uturn as text
from hierlib.text.corpus import MASK, Vocabulary
from hierlib.text.model import MaskedModel, Size, TextModel
from hierlib.theory import meanfield, population

NAN, INF = math.nan, math.inf


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def g():
    return hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_is_not_finite_is_said(bad, dtype):
    x = torch.zeros(3, 5, dtype=dtype)
    assert _finite.finite(x, "x", "") is x and _finite.all_finite({"x": x}, "") is None
    x[1, 2] = bad
    expected = rf"x: expected finite numbers, got {bad} \(1 of 15 are not finite, in {_finite.precision(dtype)}\); wait"
    for check in (lambda: _finite.finite(x, "x", "wait"), lambda: _finite.all_finite(dict(y=x[:1], x=x), "wait")):
        with pytest.raises(ValueError, match=expected):
            check()


def test_large_numbers_are_finite():
    """No sum over them is looked at, which could overflow."""
    x = torch.full((1000,), torch.finfo(torch.float16).max, dtype=torch.float16)
    _finite.finite(x, "x", "")
    _finite.Watch("loop", "")(1, x)
    assert _finite.all_finite({}, "") is None


def test_a_watch_on_a_gpu_looks_later_and_names_the_same_step(monkeypatch):
    class Far(torch.Tensor):
        device = torch.device("cuda")

    def run(state, steps, patience):
        watch = _finite.Watch("loop", "stop", torch.float16, patience=patience)
        for step in range(1, steps + 1):
            reached.append(step)
            watch(step, torch.ones(2).as_subclass(state), torch.tensor(NAN if step >= 5 else 1.0).as_subclass(state))
        watch.close()
        watch.close()

    expected = "loop, step 5: expected finite numbers, got nan or infinity, in float16; stop"
    for state, patience, last in ((torch.Tensor, 20, 5), (Far, 4, 8), (Far, 20, 7), (Far, 1, 5)):
        reached = []
        with pytest.raises(ValueError, match=expected):
            run(state, 7 if patience == 20 else 9, patience)
        assert reached[-1] == last
    reached = []
    run(torch.Tensor, 4, 20)


def spoilt(denoise, after):
    """A denoiser that says nan from one of its calls on."""
    calls = iter(range(1000))
    return lambda *x: denoise(*x) * (NAN if next(calls) >= after else 1)


def test_ways_back_end_at_the_step(g):
    x = hl.sample(g, 3, generator=rng())[0]
    exact = generation.exact_denoiser(g)
    how = generation.process("mask", g.v)
    with pytest.raises(ValueError, match=r"way back from masks, step 3: expected finite numbers, .* in float32"):
        generation.generate(spoilt(exact, 2), how, 3, g.d, generator=rng())
    how = replace(generation.process("gaussian", g.v), steps=10)
    with pytest.raises(ValueError, match=r"way back from step 900, step 700: expected finite numbers"):
        generation.turn(spoilt(exact, 2), how, x, [900], generator=rng())
    with pytest.raises(ValueError, match=r"the denoiser's marginals at t = 0.5: expected finite numbers, got nan"):
        generation.gap_to_exact(g, spoilt(exact, 0), generation.process("mask", g.v), x, 0.5, generator=rng())


def test_a_variance_that_is_nan(g):
    """diffusers documents fixed_large_log, and takes the root of a negative logarithm for it."""
    scheduler = type(diffusion.ddpm())(20, prediction_type="sample", clip_sample=False, variance_type="fixed_large_log")
    x = diffusion.ddpm_noise(g.v, scheduler).corrupt(hl.sample(g, 2, generator=rng())[0], 10, generator=rng())
    with pytest.raises(ValueError, match=r"way back from step 10, step 10: expected finite numbers, got nan"):
        diffusion.reverse_diffusion(g, x, 10, generator=rng(), scheduler=scheduler)


def test_words_come_back_until_the_step():
    x0, uniform = torch.full((2, 6), MASK + 1), text.chances(torch.full((2, 6), MASK + 1), 2, [0, 1])

    def flat(tokens, where):
        return torch.full((len(where[0]), 5), -math.log(4)).index_fill(1, torch.tensor(MASK), -INF)

    assert (text.uturn(flat, x0, 1.0, uniform) != MASK).all()
    with pytest.raises(
        ValueError, match=r"way back of 6 steps, step 4, probabilities in float32: expected finite numbers"
    ):
        text.uturn(spoilt(flat, 3), x0, 1.0, uniform)
    with pytest.raises(ValueError, match=r"belief at t = 0\.5: expected finite numbers, got nan"):
        text.calibration(spoilt(flat, 0), x0, 0.5, uniform)


TRAINING = dict(num_data=200, width=8, batch=50, max_epochs=3)


def test_trainings_end_at_the_step(tmp_path, monkeypatch):
    path, size = tmp_path / "net.part", dict(v=4, m=2, s=2, L=2)
    cross_entropy, calls = torch.nn.functional.cross_entropy, iter(range(1000))
    monkeypatch.setattr(
        torch.nn.functional, "cross_entropy", lambda *x: cross_entropy(*x) * (NAN if next(calls) == 6 else 1)
    )
    with pytest.raises(ValueError, match=r"step 7: expected a finite loss, got nan; lower the learning rate"):
        cnn.train_classifier(**size, training=cnn.Training(**TRAINING), checkpoint=path)
    monkeypatch.undo()
    done = cnn.train_classifier(**size, training=cnn.Training(**TRAINING), checkpoint=path)
    assert len(done.history) == 3 and math.isfinite(done.history[-1]["loss"]), "it goes on from the pass before"
    calls = iter(range(1000))
    loss = denoiser._loss
    monkeypatch.setattr(denoiser, "_loss", lambda *x: loss(*x) * (NAN if next(calls) == 5 else 1))
    short = denoiser.DenoiserTraining(**size, num_data=64, width=8, batch=16, steps=20)
    with pytest.raises(ValueError, match=r"step 5: expected a finite loss, got nan"):
        denoiser.train_denoiser(short)


def test_weights_of_a_finished_training_are_finite(tmp_path):
    """The loss of the last step is finite, its gradient is not: of √x at 0, say."""
    network = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(network.weight)
    options = dict(checkpoint=tmp_path / "x.part", identity={})
    with pytest.raises(ValueError, match=r"step 1, weight weight: expected finite numbers, got nan"):
        fit(network, lambda index, rng: network.weight.sqrt().sum(), 4, Schedule(4, batch=4), **options)


def test_weights_of_files_are_finite(g, tmp_path):
    path = tmp_path / "net.safetensors"
    net = cnn.TreeCNN(4, 2, 2, 8, 4).reset_parameters(rng())
    training = cnn.Training(width=8)
    short = denoiser.DenoiserTraining(v=4, m=2, L=2, width=8)
    unet = denoiser.TreeUNet(4, 2, 2, 8).reset_parameters(rng())
    for thing, spoil in (
        (cnn.Classifier(g, net, training, []), net),
        (denoiser.TrainedDenoiser(short, unet, unet, [], 0.0), unet),
    ):
        with torch.no_grad():
            spoil.readout.bias[1] = INF
        thing.save(path)
        with pytest.raises(
            ValueError, match=r"net\.safetensors: weight readout\.bias: expected finite numbers, got inf"
        ):
            type(thing).load(path)


def test_weights_of_files_are_floats(g, tmp_path):
    """torch would cast others: integers without the scale that they were quantised with, complex ones in part."""
    path = tmp_path / "net.safetensors"
    net = cnn.TreeCNN(4, 2, 2, 8, 4).reset_parameters(rng())
    unet = denoiser.TreeUNet(4, 2, 2, 8).reset_parameters(rng())
    short = denoiser.DenoiserTraining(v=4, m=2, L=2, width=8)
    size = Size(vocabulary=4, length=4, width=8, heads=2, blocks=1)
    for thing in (
        cnn.Classifier(g, net, cnn.Training(width=8), []),
        denoiser.TrainedDenoiser(short, unet, unet, [], 0.0),
        TextModel(MaskedModel(size), Vocabulary.of(["a", "b"], 4), {}),
    ):
        thing.save(path)
        tensors, about = read_tensors(path)
        key = next(k for k in tensors if "bias" in k)
        for change, got in (
            (lambda w: (100 * w).to(torch.int8), "int8"),
            (lambda w: w.to(torch.complex64), "complex64"),
        ):
            write_tensors(path, tensors | {key: change(tensors[key])}, about)
            with pytest.raises(ValueError, match=rf"net\.safetensors: weight {key.removeprefix('net.')}: .* got {got}"):
                type(thing).load(path)


def maps(bad=None):
    x = torch.rand(6, 2, 5, 5, generator=rng())
    if bad is not None:
        x[3, 1, 2, 2] = bad
    return {"first": x[:, :1], "maps": x}


@pytest.mark.parametrize("bad", [NAN, INF])
def test_layers_that_are_not_finite_are_named(bad):
    x = torch.arange(6)
    good = layers.moments(lambda index: {k: a[index] for k, a in maps().items()}, x.split(2))
    with pytest.raises(ValueError, match=r"layer maps, mean square|layer maps: expected finite numbers"):
        layers.moments(lambda index: {k: a[index] for k, a in maps(bad).items()}, x.split(2))
    with pytest.raises(ValueError, match=r"layer maps: expected finite numbers, got nan .1 of 6"):
        layers.similarity(maps(), maps(bad), good)
    with pytest.raises(ValueError, match=r"x: expected finite numbers"):
        layers.fit_linear(maps(bad)["maps"].flatten(1), x[:, None], 6)
    alike = probe.LayerSimilarity(["a"], torch.tensor([[0.5], [bad]], dtype=torch.float64), torch.ones(2).bool())
    for ask in (alike.histogram, alike.peak, alike.peak_interval):
        with pytest.raises(ValueError, match=r"cosine similarity: expected finite numbers"):
            ask()


def test_a_vanishing_pair_has_no_similarity_but_a_number():
    """0/0 is said to be 0, not nan."""
    x = {"a": torch.tensor([[1.0, -1.0], [3.0, 2.0]])}
    at_zero = {"a": layers.Moments(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))}
    assert layers.similarity({"a": torch.zeros(2, 2)}, x, at_zero).cosine["a"].tolist() == [0, 0]


def test_image_networks_that_say_nan():
    network = classifier.ImageCNN(1, 3, width=4)
    x = torch.randint(256, (4, 1, 12, 12), generator=rng(), dtype=torch.uint8)
    seen = probe.cnn_probe(network)
    moments = probe.statistics(seen, x)
    with torch.no_grad():
        network.logits.bias[0] = NAN
    for ask in (
        lambda: probe.predict(seen, x),
        lambda: classifier.classify(network, x),
        lambda: probe.compare(seen, [UTurns(1, 0, x, x)], moments),
    ):
        with pytest.raises(ValueError, match=r"logits.*: expected finite numbers, got nan"):
            ask()
    with torch.no_grad():
        network.blocks[0][0].weight.fill_(NAN)
    with pytest.raises(ValueError, match=r"layer convolution 1: expected finite numbers, got nan"):
        patches.patch_match(seen, "convolution 1", x, x, moments["convolution 1"])


def test_distances_of_features():
    a, b = torch.rand(2, 8, 3, generator=rng())
    for distance in (quality.frechet_distance, quality.kernel_distance):
        for bad in (NAN, INF):
            with pytest.raises(ValueError, match=r"features: expected finite numbers"):
                distance(a, b.index_fill(0, torch.tensor(2), bad))
    with pytest.raises(ValueError, match=r"distance: expected finite numbers, got"):
        quality.kernel_distance(a.double() * 1e60, b)


@pytest.mark.parametrize("bad", [NAN, INF])
def test_no_verdict_of_what_is_not_there(bad):
    cosine, baseline = torch.rand(2, 3, 5, 2, generator=rng()), torch.rand(2, 5, 2, generator=rng())
    inversion.inversion(cosine, baseline)
    for which in range(2):
        given = [cosine.clone(), baseline.clone()]
        given[which][1, 1] = bad
        with pytest.raises(ValueError, match=r"of what is not there nothing can be decided"):
            inversion.inversion(*given)
    for curve in (curves.half_height, curves.width):
        with pytest.raises(ValueError, match=r"y: expected finite heights, got .* at t = 2; leave out"):
            curve([1.0, 2.0, 3.0], [1.0, bad, 0.0], chance=0.0)
    with pytest.raises(ValueError, match=r"y: expected finite heights"):
        curves.crossing([1.0, 2.0], [1.0, 0.0], [bad, 0.5])
    with pytest.raises(ValueError, match=r"curve: expected finite fractions, got (nan|inf) at 16 data"):
        learning.strings_needed([8, 16, 32], [0.1, bad, 0.9], 0.4)


def test_numbers_of_a_page_may_be_of_any_size():
    glue.reset()
    glue.number("many", 10**400, "d")


def test_theory(g):
    x = hl.sample(g, 2, generator=rng())[0]
    evidence = hl.epsilon_evidence(x, eps=0.5, v=g.v)
    evidence[1, 0] = 0
    with pytest.raises(ValueError, match=r"evidence: expected finite numbers, got nan .4 of 32"):
        spectrum.census(g, evidence)
    mixture = torch.full((2, 4, 4), 0.25, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"log evidence: expected finite numbers, got -inf"):
        changes.moments_of(controls.mixture_log_evidence(mixture), evidence, x)
    for bad in (NAN, INF):
        leaves = lambda n, generator, bad=bad: torch.full((n, 4), bad, dtype=torch.float64)  # noqa: E731
        with pytest.raises(ValueError, match=r"leaves, beliefs of a level: expected finite numbers"):
            population.density_evolution(leaves, m=2, s=2, L=2, size=10, generator=rng())
    with pytest.raises(ValueError, match=r"v, s: expected v\^s below 1.8e308, got v = 1e\+200 and s = 2"):
        meanfield.upward_map(0.5, v=1e200, m=1e199, s=2)
