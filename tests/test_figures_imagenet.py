"""Figures 2 and 16 from files of a run: what is drawn is what is in them, and the rule is applied to it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from hierlib.book.figures import imagenet as figure
from hierlib.images import storage as run
from hierlib.images.inversion import inversion
from hierlib.images.probe import LayerSimilarity

INPUTS = dict(model="ADM 256, unconditional", digest="00", images="11", steps=250, seed=0, matched=False)
TIMES = (25, 125, 200)


def write(folder, name, *, layers=5, seed=0, inverts=False, **change):
    """A file as the run writes it: cosines of 40 images around given means, of 60 unrelated pairs around 0.1."""
    rng = torch.Generator().manual_seed(seed)
    means = {25: (0.7, 0.9), 125: (0.5, 0.5), 200: (0.5, 0.15) if inverts else (0.1, 0.1)}
    names = [f"layer {i}" for i in range(layers)]

    def alike(first, last, n):
        cosine = torch.linspace(first, last, layers) + 0.05 * torch.randn(n, layers, generator=rng)
        return LayerSimilarity(names, cosine, torch.rand(n, generator=rng) < 0.5)

    inputs = INPUTS | dict(network=f"weights of {name}", resize=232) | change
    about = dict(probe=name, trained="random" not in name, steps=250, inputs=inputs)
    path = folder / f"layers-{name}.safetensors"
    run.save_layers(path, {k: alike(*means[k], 40) for k in TIMES}, alike(0.1, 0.1, 60), about)
    return path


def nothing():
    found = LayerSimilarity(["a"], torch.ones(2, 1), torch.ones(2) > 0)
    return {1: found}, found


def test_what_is_drawn_is_what_is_in_the_files(tmp_path):
    paths = [write(tmp_path, "convnext_base", layers=7), write(tmp_path, "resnet50", seed=1)]
    results = figure.load_results(tmp_path)
    fig = figure.draw(results)
    try:
        for row, path in enumerate(paths):
            found, unrelated, about = run.load_layers(path)
            for column, statistic in enumerate(("mean", "peak")):
                ax = fig.axes[2 * row + column]
                lines, layers = ax.get_lines(), len(unrelated.layers)
                assert ax.get_title() == f"{about['probe']}, {statistic}" and len(lines) == layers + 3
                for j in range(layers):
                    expected = [float(getattr(alike, statistic)()[j]) for alike in found.values()]
                    np.testing.assert_allclose(lines[j].get_ydata(), expected)
                    np.testing.assert_allclose(lines[j].get_xdata(), [0.1, 0.5, 0.8])
                kept = [float(alike.kept.double().mean()) for alike in found.values()]
                np.testing.assert_allclose(lines[layers].get_ydata(), kept)
    finally:
        plt.close(fig)


@pytest.mark.parametrize("inverts", [False, True])
def test_the_command_applies_the_rule(tmp_path, call, inverts):
    for seed, name in enumerate(("convnext_base", "resnet50", "resnet152")):
        write(tmp_path, name, layers=5 + seed, seed=seed, inverts=inverts)
    code, said = call("images", "figure", str(tmp_path), str(tmp_path / "figure2.png"))
    assert code == 0 and f"By the rule the order {'inverts' if inverts else 'does not invert'} (3 networks)." in said
    results = figure.load_results(tmp_path)
    cosine = torch.stack([torch.stack([a.cosine[:, [0, -1]] for a in r.found.values()]) for r in results])
    expected = inversion(cosine, torch.stack([r.unrelated.cosine[:, [0, -1]] for r in results]))
    assert f"t/T = 0.80: {float(expected.difference[2]):+.4f} ± {float(expected.half_width[2]):.4f}" in said
    assert (tmp_path / "figure2.png").read_bytes()[:4] == b"\x89PNG"


def test_one_network_is_drawn_without_a_verdict(tmp_path, call):
    write(tmp_path, "resnet50")
    code, said = call("images", "figure", str(tmp_path), str(tmp_path / "one.svg"))
    assert code == 0 and "wants two networks" in said and (tmp_path / "one.svg").stat().st_size > 1000


@pytest.mark.parametrize(
    "spoil, why",
    [
        (lambda folder: None, r"expected layers-\* of `hierlib images run`, got none"),
        (lambda folder: write(folder, "resnet50-random-weights"), "random weights are for tests"),
        (lambda folder: (write(folder, "a"), write(folder, "b", steps=100)), "got several, which differ in steps"),
        (lambda folder: (write(folder, "a"), write(folder, "b", images="12")), "which differ in images"),
        (lambda folder: (write(folder, "a"), write(folder, "b", network="weights of a")), "got one twice"),
        (lambda folder: run.save_layers(write(folder, "a"), *nothing(), dict(trained=True)), "which inputs made it"),
        (lambda folder: (folder / "layers-x.safetensors").write_bytes(b"cut"), "expected a safetensors file"),
    ],
)
def test_what_is_refused(tmp_path, spoil, why):
    spoil(tmp_path)
    with pytest.raises(ValueError, match=why):
        figure.load_results(tmp_path)


def test_wrong_words(tmp_path, call):
    code, said = call("images", "figure", str(tmp_path), str(tmp_path / "x.png"))
    assert code == 2 and "hierlib images figure: " in said
    write(tmp_path, "resnet50")
    code, said = call("images", "figure", str(tmp_path), str(tmp_path / "figure.xyz"))
    assert code == 2 and "xyz" in said and not list(tmp_path.glob("figure*"))
