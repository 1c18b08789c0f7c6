"""The probe on image networks: its nodes, its literal definition, the architectures of the paper end to end."""

import hashlib
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from hierlib.images import probe
from hierlib.images.classifier import ImageCNN
from hierlib.images.files import as_jpeg
from hierlib.images.sampler import UTurns


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n, channels=1, size=12, seed=0):
    return torch.randint(256, (n, channels, size, size), generator=rng(seed), dtype=torch.uint8)


@pytest.fixture(scope="module")
def little():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = ImageCNN(1, 5, width=4)
    p = probe.cnn_probe(network, trained=False)
    with torch.no_grad():  # centred, so that it names more than one class
        network.logits.bias -= p(pictures(50))["logits"].mean(0)
    return p


def test_layers_of_the_small_network(little):
    a = little(pictures(3))
    assert list(a) == [*(f"convolution {i}" for i in range(1, 7)), "hidden layer", "logits"] == little.layers
    assert a["convolution 1"].shape == (3, 4, 12, 12) and a["convolution 6"].shape == (3, 16, 3, 3)
    x = pictures(3).float() / 127.5 - 1
    torch.testing.assert_close(a["logits"], little.network(x))
    torch.testing.assert_close(a["convolution 1"], little.network.blocks[0](x))


@pytest.mark.parametrize("raw", [False, True])
def test_it_is_its_definition(little, raw):
    """Batches of any size against the formula, layer by layer, on all images at once."""
    data, start, end = pictures(50), pictures(9, seed=1), pictures(9, seed=2)
    end[4:] = start[4:]
    moments = probe.statistics(little, data, batch=13)
    batches = [UTurns(7, i, start[i : i + 4], end[i : i + 4]) for i in range(0, 9, 4)]
    [(k, alike)] = probe.compare(little, batches, moments, raw_second_moment=raw).items()
    assert k == 7 and alike.layers == little.layers and alike.cosine.dtype == torch.float64
    of_data, of_start, of_end = (little(x) for x in (data, start, end))
    for i, name in enumerate(alike.layers):
        full = of_data[name].double()
        axes = (0, 2, 3) if full.ndim == 4 else (0, 1)
        mean = full.mean(axes, keepdim=True)
        scale = (full.square() if raw else (full - mean).square()).mean(axes, keepdim=True).sqrt()
        constant = scale <= 1e-9
        a, b = (((z[name].double() - mean) / scale).masked_fill(constant, 0).flatten(1) for z in (of_start, of_end))
        expected = torch.nn.functional.cosine_similarity(a, b)
        torch.testing.assert_close(alike.cosine[:, i], expected, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(alike.cosine[4:], torch.ones(5, 8, dtype=torch.float64))
    assert torch.equal(alike.kept, of_start["logits"].argmax(1) == of_end["logits"].argmax(1)) and alike.kept[4:].all()
    assert not alike.kept.all(), "the network names several classes"
    torch.testing.assert_close(alike.mean(), alike.cosine.mean(0))
    torch.testing.assert_close(alike.standard_error(), alike.cosine.std(0) / 3)


def test_equal_starts_are_looked_at_once(little, monkeypatch):
    """Whether they are one tensor or copies; in between, others are not mixed up with them."""
    data, x, y = pictures(50), pictures(3, seed=1), pictures(3, seed=2)
    moments, looked = probe.statistics(little, data), []
    look = probe.Probe.__call__
    monkeypatch.setattr(probe.Probe, "__call__", lambda self, images: looked.append(len(images)) or look(self, images))
    turns = [UTurns(1, 0, x, y), UTurns(2, 0, x.clone(), x), UTurns(1, 3, y, x), UTurns(2, 3, y, y)]
    alike = probe.compare(little, turns, moments)
    assert len(looked) == 2 + 4, "two starts and four ends"
    one = torch.ones(3, 8, dtype=torch.float64)
    torch.testing.assert_close(alike[2].cosine, torch.cat([one, one]))
    torch.testing.assert_close(alike[1].cosine[:3], alike[1].cosine[3:])


def test_histogram_and_its_peak():
    cosine = torch.tensor([[-1.0, 0.31], [1.0, 0.33], [0.97, 0.01], [0.12, 0.9]], dtype=torch.float64)
    alike = probe.LayerSimilarity(["a", "b"], cosine, torch.ones(4, dtype=torch.bool))
    counts = alike.histogram(bins=20)
    assert counts.shape == (2, 20) and torch.equal(counts.sum(1), torch.ones(2, dtype=torch.float64))
    assert counts[0, 0] == 0.25 and counts[0, 19] == 0.5 and counts[1, 13] == 0.5
    torch.testing.assert_close(alike.peak(bins=20), torch.tensor([0.95, 0.35], dtype=torch.float64))
    tie = probe.LayerSimilarity(["a"], torch.tensor([[-0.95], [0.95]], dtype=torch.float64), alike.kept[:2])
    torch.testing.assert_close(tie.peak(bins=20), torch.zeros(1, dtype=torch.float64), atol=1e-12, rtol=0)


def test_interval_of_the_peak():
    """Two heaps: the interval is the larger heap alone if it is much larger, and holds both if they are alike."""
    cosine = torch.full((200, 2), 0.31, dtype=torch.float64)
    cosine[:40, 0] = cosine[:98, 1] = -0.5
    alike = probe.LayerSimilarity(["a", "b"], cosine, torch.ones(200, dtype=torch.bool))
    low, high = alike.peak_interval(bins=20, num=300)
    torch.testing.assert_close(low, torch.tensor([0.35, -0.45], dtype=torch.float64))
    torch.testing.assert_close(high, torch.tensor([0.35, 0.35], dtype=torch.float64))


@pytest.mark.parametrize("batch", [1, 4, 11])
def test_baseline_pairs_everyone_with_somebody_else(little, monkeypatch, batch):
    """Everyone has one partner and is one, the answer is `compare`'s of these pairs, and each is looked at once."""
    data, looked, look = pictures(11), [], probe.Probe.__call__
    little = probe.cnn_probe(deepcopy(little.network).double(), trained=False)  # the same in batches of any size
    moments = probe.statistics(little, pictures(50, seed=1))
    monkeypatch.setattr(probe.Probe, "__call__", lambda self, images: looked.append(images) or look(self, images))
    found = probe.baseline(little, data, moments, generator=rng(), batch=batch)
    assert sorted(x.flatten().tolist() for x in torch.cat(looked)) == sorted(x.flatten().tolist() for x in data)
    order = torch.randperm(11, generator=rng())
    partner = {int(order[i]): int(order[i - 1]) for i in range(11)}
    assert all(i != j for i, j in partner.items()) and sorted(partner.values()) == list(range(11))
    pairs = UTurns(0, 0, data, data[[partner[i] for i in range(11)]])
    expected = probe.compare(little, [pairs], moments)[0]
    torch.testing.assert_close(found.cosine, expected.cosine, rtol=1e-9, atol=1e-12)
    assert torch.equal(found.kept, expected.kept) and found.layers == little.layers
    with pytest.raises(ValueError, match="at least two"):
        probe.baseline(little, data[:1], {}, generator=rng())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, number, shapes",
    [
        ("convnext_base", 41, {"features.0": (128, 16, 16), "features.7.2": (1024, 2, 2), "classifier": (1000,)}),
        ("resnet50", 17, {"layer1.0": (256, 16, 16), "layer4.2": (2048, 2, 2), "fc": (1000,)}),
        ("wide_resnet50_2", 17, {"layer1.0": (256, 16, 16), "fc": (1000,)}),
        ("resnet152", 51, {"layer3.35": (1024, 4, 4), "fc": (1000,)}),
    ],
)
def test_architectures_of_the_paper_end_to_end(name, number, shapes):
    """With random weights, which is said in their name, on images of 64 × 64."""
    p = probe.torchvision_probe(name, random_seed=0, resize=66, crop=64)
    assert not p.trained and p.name == f"{name}, random weights" and len(p.layers) == number
    x = pictures(3, 3, 70)
    a = p(x)
    assert list(a) == p.layers
    assert {layer: tuple(a[layer].shape[1:]) for layer in shapes} == shapes
    moments = probe.statistics(p, x)
    y = torch.cat([x[:1], x[1:].roll(1, 0)])
    alike = probe.compare(p, [UTurns(1, 0, x, y)], moments)[1]
    assert alike.cosine.shape == (3, number) and alike.cosine.isfinite().all()
    torch.testing.assert_close(alike.cosine[0], torch.ones(number, dtype=torch.float64))
    assert (alike.cosine[1:, 0] < 0.9).all() and alike.cosine.abs().max() < 1 + 1e-9 and alike.kept[0]


@pytest.mark.slow
def test_jpeg_is_for_the_samples_only():
    p = probe.torchvision_probe("resnet50", random_seed=0, resize=34, crop=32)
    x = pictures(2, 3, 40)
    moments = probe.statistics(p, x)
    plain = probe.compare(p, [UTurns(1, 0, x, as_jpeg(x, 30))], moments)[1]
    saved = probe.compare(p, [UTurns(1, 0, x, x)], moments, jpeg_quality=30)[1]
    assert torch.equal(plain.cosine, saved.cosine) and (saved.cosine[:, 0] < 0.999).all()


@pytest.mark.slow
def test_preprocessing_is_torchvisions():
    from torchvision.models import ResNet50_Weights

    p = probe.torchvision_probe("resnet50", random_seed=0)
    x = pictures(2, 3, 256)
    torch.testing.assert_close(p.preprocess(x), ResNet50_Weights.DEFAULT.transforms()(x))


@pytest.mark.slow
def test_weights_of_a_file(tmp_path):
    from torchvision.models import resnet18

    path, size = tmp_path / "weights.pth", dict(resize=34, crop=32)
    torch.save(resnet18().state_dict(), path)
    with pytest.raises(
        ValueError, match=r"got none for layer1\.0\.conv3\.weight .* .a ResNet; is it the name of another"
    ):
        probe.torchvision_probe("resnet50", weights=path, **size)
    for content, why in (
        (b"no weights", "expected a whole file of weights, got .*; compare its digest with the publisher's"),
        (None, "expected weights, got list; save the state dict alone"),
    ):
        path.write_bytes(content) if content else torch.save([1], path)
        with pytest.raises(ValueError, match=why):
            probe.torchvision_probe("resnet50", weights=path, **size)
    with pytest.raises(ValueError, match="got nothing there"):
        probe.torchvision_probe("resnet50", weights=tmp_path / "none.pth", **size)
    other = probe.torchvision_probe("resnet50", random_seed=1)
    weights = other.network.state_dict()
    torch.save(weights, path)
    loaded = probe.torchvision_probe("resnet50", weights=path, **size)
    assert loaded.trained and loaded.name == "resnet50" and (loaded.resize, loaded.crop) == (34, 32)
    assert loaded.digest == hashlib.sha256(path.read_bytes()).hexdigest() and not other.digest
    assert torch.equal(loaded.network.fc.weight, other.network.fc.weight)
    old = {k: w for k, w in weights.items() if "num_batches" not in k}  # as in files of 2017
    torch.save(old, path, _use_new_zipfile_serialization=False)
    assert torch.equal(
        probe.torchvision_probe("resnet50", weights=path, **size).network.fc.weight, weights["fc.weight"]
    )
    torch.save(weights | {"fc.bias": torch.full((1000,), torch.nan)}, path)
    with pytest.raises(ValueError, match=r"weights\.pth: weight fc\.bias: expected finite numbers, got nan"):
        probe.torchvision_probe("resnet50", weights=path, **size)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file of weights; a smaller network stands for each architecture."""
    from torchvision import models

    monkeypatch.setattr(models, "get_model", lambda *_, **__: models.resnet18())
    path = tmp_path / "mine.pth"
    torch.save(models.resnet18().state_dict(), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", probe.ARCHITECTURES)
def test_images_are_prepared_as_the_weights_want_it(name, weights, monkeypatch):
    """Those that torchvision publishes are known by their digest, whatever the file is called."""
    from torchvision.models import get_model_weights

    sizes = []
    for version in get_model_weights(name):
        digest = version.url.rpartition("-")[2].removesuffix(".pth")
        monkeypatch.setattr(probe, "sha256_of", lambda _, digest=digest: digest + "0" * 56)
        p, wanted = probe.torchvision_probe(name, weights=weights), version.transforms()
        x = pictures(1, 3, 300)
        torch.testing.assert_close(p.preprocess(x), wanted(x))
        sizes.append(p.resize)
        assert probe.torchvision_probe(name, weights=weights, resize=299).resize == 299
    assert sizes[-1] == 232 and (name == "convnext_base" or sizes == [256, 232])


@pytest.mark.slow
def test_images_of_unknown_weights_are_prepared_as_is_said(weights):
    with pytest.raises(ValueError, match=r"weights that torchvision publishes for resnet50, .*; pass resize and crop"):
        probe.torchvision_probe("resnet50", weights=weights)
    beside = weights.with_suffix(".json")
    for content, why in (
        ('{"resize": 236}', "mine.json: expected numbers of pixels like .* got KeyError"),
        ('{"resize": "236", "crop": 224}', "got ValueError.*236"),
        ("[3]", "mine.json: expected numbers of pixels like"),
        ("{", "mine.json: expected numbers of pixels like"),
        ('{"resize": 224, "crop": 236}', "expected a crop of at most the 224 pixels .* got 236, .* black; are the two"),
        ('{"resize": 236, "crop": 224, "std": [1, 1, 1]}', "mine.json: .*got .*std as well, which is not used"),
    ):
        beside.write_text(content)
        with pytest.raises(ValueError, match=why):
            probe.torchvision_probe("resnet50", weights=weights)
    with pytest.raises(ValueError, match="std as well, which is not used"):
        probe.torchvision_probe("resnet50", weights=weights, resize=236, crop=224)
    beside.write_text('{"resize": 236, "crop": 224}')
    p = probe.torchvision_probe("resnet50", weights=weights)
    assert (p.resize, p.crop) == (236, 224)


@pytest.mark.slow
def test_no_image_is_framed_in_black():
    with pytest.raises(ValueError, match=r"expected a crop of at most the 32 pixels .* got 33"):
        probe.torchvision_probe("resnet50", random_seed=0, resize=32, crop=33)
    p = replace(probe.torchvision_probe("resnet50", random_seed=0, resize=32, crop=32), resize=None)
    assert p.preprocess(pictures(1, 3, 33)).shape[-1] == 32
    with pytest.raises(ValueError, match=r"at least the 32 pixels a side .* got 30 × 30; give it a size"):
        p(pictures(1, 3, 30))


ODD = {  # weights of other kinds of numbers, and what is said of them
    "integers": (lambda w: (w * 100).to(torch.int8), "integers where floats"),
    "truth values": (lambda w: w > 0, "truth values where floats"),
    "complex": (lambda w: w.to(torch.complex64) * 1j, "complex numbers where floats"),
    "sparse": (lambda w: w.to_sparse(), "sparse numbers where floats"),
    "8 bits": (lambda w: w.to(torch.float8_e4m3fn), "floats of 8 bits where floats"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ODD)
def test_weights_are_the_numbers_that_they_are_read_as(weights, kind):
    change, got = ODD[kind]
    good = torch.load(weights, weights_only=True)
    torch.save(good | {"bn1.weight": change(good["bn1.weight"])}, weights)
    with pytest.raises(ValueError, match=rf"mine\.pth: .* got {got} are expected for bn1\.weight; take its own file"):
        probe.torchvision_probe("resnet50", weights=weights, resize=40, crop=32)
    halves = {name: w.half() if w.is_floating_point() else w.int() for name, w in good.items()}
    torch.save(halves, weights)
    assert probe.torchvision_probe("resnet50", weights=weights, resize=40, crop=32).trained


def test_any_network_by_its_nodes_and_what_is_refused():
    from torchvision.models import efficientnet_b0

    network = efficientnet_b0()
    p = probe.Probe(network, {"features.0": "stem", "classifier": "logits"}, **probe.IMAGENET)
    assert list(p(pictures(1, 3, 32))) == ["stem", "logits"]
    with pytest.raises(ValueError, match="expected nodes of the network"):
        probe.Probe(network, {"no.such.node": "x"}, **probe.IMAGENET)
    with pytest.raises(ValueError, match="expected a ResNet or ConvNeXt, got EfficientNet"):
        probe.node_list(network)
    with pytest.raises(ValueError, match=r"expected uint8 of shape \(n, 3, height, width\)"):
        p(pictures(1, 1, 32))
    with pytest.raises(ValueError, match="expected one of convnext_base"):
        probe.torchvision_probe("vgg16", random_seed=0)
    with pytest.raises(ValueError, match="got none or several"):
        probe.torchvision_probe("resnet50")
