"""The command from end to end, on a folder of small pictures and a small model."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import torch

from hierlib.book.runs.checkout import chapters, find_checkout
from hierlib.book.runs.run import prepare
from hierlib.images import classifier, models, sampler
from hierlib.images import commands as run
from hierlib.images.probe import baseline, cnn_probe, compare, statistics, torchvision_probe
from hierlib.images.unet import small_config, unet
from tests.test_images_data import folder_of_classes
from tests.test_images_models import STEPS

CHAPTERS = chapters(find_checkout(Path(__file__).parent))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A denoiser and a classifier of 32 × 32 colour images, untrained, and a folder of such images."""
    root = tmp_path_factory.mktemp("run")
    folder_of_classes(root / "val", n=5, size=(40, 36))
    config = small_config(3, 32, (8, 16))
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network, cnn = unet(config), classifier.ImageCNN(3, 4, width=4, depth=1)
    about = dict(kind="diffusion model", name="little", network=config, scheduler=STEPS, channels=3, size=32, fold=2)
    models.save(root / "model.safetensors", network.state_dict(), about)
    models.save(root / "cnn.safetensors", cnn.state_dict(), dict(kind="classifier", network=cnn.config))
    return root


def words(place, folder, *more):
    out = ["--weights", place / "model.safetensors", "--images", place / "val", "--per-class", "2", "--device", "cpu"]
    out += ["--statistics-per-class", "4", "--k", "1", "3", "--steps", "4", "--batch", "3", "--folder", folder]
    return [str(word) for word in [*out, *(more or ["--probe", place / "cnn.safetensors"])]]


def test_it_is_the_parts_put_together(place, tmp_path, capsys):
    assert run.main(words(place, tmp_path)) == 0
    found, unrelated, about = run.load_layers(tmp_path / "layers-cnn.safetensors")
    model = models.load_small(place / "model.safetensors")
    probe = cnn_probe(classifier.load_classifier(place / "cnn.safetensors")[0])
    images, wide = (run.open_images(place / "val", model, n) for n in (2, 4))
    moments = statistics(probe, wide)
    expected = compare(probe, sampler.uturns(model, images, [1, 3], steps=4, show=False), moments)
    assert list(found) == [1, 3] and found[1].layers == probe.layers and found[1].cosine.shape == (4, 5)
    for k in (1, 3):
        torch.testing.assert_close(found[k].cosine, expected[k].cosine, rtol=0, atol=1e-4)
        assert torch.equal(found[k].kept, expected[k].kept)
    other = baseline(probe, wide, moments, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(unrelated.cosine, other.cosine, rtol=0, atol=1e-4)
    assert about["model"] == "little" and about["of_statistics"] == 8 and about["trained"] is True
    assert "images/s" in capsys.readouterr().err
    before = (tmp_path / "layers-cnn.safetensors").stat().st_mtime_ns
    assert run.main(words(place, tmp_path)) == 0 and "is there already" in capsys.readouterr().err
    assert (tmp_path / "layers-cnn.safetensors").stat().st_mtime_ns == before


def test_options_of_the_authors_code_change_what_they_should(place, tmp_path):
    probe = ["--probe", place / "cnn.safetensors"]
    out = {}
    for name, more in {"": [], "raw": ["--raw-second-moment"], "jpeg": ["--jpeg-quality", "20"]}.items():
        assert run.main(words(place, tmp_path / name, *probe, *more)) == 0
        out[name] = run.load_layers(tmp_path / name / "layers-cnn.safetensors")[0][1].cosine
    assert (out["raw"] - out[""]).abs().max() > 1e-3 and (out["jpeg"] - out[""]).abs().max() > 1e-3


def test_fashion_files_are_recognised(tmp_path):
    from hierlib.images.files import write_idx

    write_idx(tmp_path / "t10k-images-idx3-ubyte", torch.zeros(20, 28, 28, dtype=torch.uint8))
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", torch.arange(20, dtype=torch.uint8) % 10)
    found = run.open_images(tmp_path, None, 2)
    assert found[:].shape == (20, 1, 28, 28) and found.labels.tolist() == [*range(10)] * 2


@pytest.mark.parametrize(
    "change, why",
    [
        (["--probe", "vgg"], "--probe: expected FILE.safetensors, NAME=FILE, NAME=download or NAME=random"),
        (["--probe", "resnet50=none.pth"], "none.pth: expected a file of weights, got nothing there"),
        (["--probe", "none.safetensors"], "none.safetensors: expected a classifier written by hierlib.images"),
        (["--probe", "CNN", "--model", "big"], "model: expected one of small, adm256, pipeline, got 'big'"),
        (["--probe", "CNN", "--images", "nowhere"], "nowhere: expected a folder with one folder of images for each"),
        (["--probe", "CNN", "--k", "0"], "k: expected inversion times from 1 to 4 steps, got [0]"),
    ],
)
def test_wrong_words(place, tmp_path, capsys, change, why):
    given = [str(place / "cnn.safetensors") if word == "CNN" else word for word in change]
    assert run.main(words(place, tmp_path, *given)) == 2
    assert why in capsys.readouterr().err


def test_another_file_is_no_result(place):
    with pytest.raises(ValueError, match="expected a safetensors file of this library"):
        run.load_layers(place / "cnn.safetensors")


PAGE = (Path(__file__).parents[1] / "book" / "figure-2-on-imagenet.md").read_text("utf-8")
COMMANDS = [block.replace("\\\n", " ").strip() for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S)]


def commands(program):
    return [shlex.split(line)[len(program.split()) :] for line in COMMANDS if line.startswith(program + " ")]


def test_commands_of_the_page_about_imagenet_are_understood():
    options = [run._parser().parse_args(words) for words in commands("python -m hierlib.images.commands")]
    assert len(options) == 2 and options[0].per_class == 10 and options[0].k[-1] == options[0].steps == 250
    assert {word.split("=")[0] for word in options[0].probe} == set(run.ARCHITECTURES)
    assert commands("python -m hierlib.images.download") == [[str(options[0].weights)]]
    [[results, out]] = commands("python -m hierlib.book.figures.imagenet")
    assert Path(results) == options[0].folder and out == "figure2.pdf"
    [[_, code]] = commands("python")[:1]
    compile(code, "the page", "exec")
    for flag in re.findall(r"`(--[a-z-]+)", PAGE):
        assert flag in run._parser()._option_string_actions


def test_chapters_take_what_the_page_gives_them():
    slugs = []
    for slug, flag, _, *words in commands("hierlib run"):
        slugs.append(slug)
        assert flag == "--out" and words[::3] == ["-p"] * (len(words) // 3)
        given = {name: text for _, name, text in zip(*[iter(words)] * 3, strict=True)}
        values = dict(prepare(CHAPTERS[slug], given).values)
        assert values["model"] == "adm256" and values["per_class"] == 8 and values["steps"] == 100
    assert slugs == ["an-image-half-way-and-back", "layer-by-layer"]
    assert len(COMMANDS) == 8


def test_links_to_some_classes(tmp_path):
    for i in range(1000):
        (tmp_path / "imagenet" / "val" / f"n{i:08d}").mkdir(parents=True)
    [line] = [line for line in COMMANDS if line.startswith("mkdir")]
    subprocess.run(["bash", "-ec", line], cwd=tmp_path, check=True)
    links = sorted((tmp_path / "imagenet" / "val-32-classes").iterdir())
    assert len(links) == 32 and all(link.is_dir() for link in links) and links[-1].name == "n00000961"


def test_arithmetic_of_the_page():
    options = [run._parser().parse_args(words) for words in commands("python -m hierlib.images.commands")]
    passes = 10_000 * sum(options[0].k)
    small = 32 * options[1].per_class * sum(options[1].k)
    assert passes == 13_750_000 and 256 * 1375 == 352_000 and round(small, -3) == 141_000
    assert 0.95 < 10_000 * len(options[0].k) * 3 * 256**2 / 20e9 < 1.05, "bytes of the images"
    layers = [len(torchvision_probe(name, random_seed=0).layers) for name in ("resnet50", "resnet152")]
    assert [int(11 * 10_000 * n * 4 / 1e6) for n in layers] == [7, 22], "megabytes of cosines, with the baseline"
    for passes_, unit, shown in ((passes, 3600, (23, 31)), (352_000, 60, (35, 47)), (141_000, 60, (14, 19))):
        assert [round(passes_ * ms / 1e3 / unit) for ms in (6, 8)] == list(shown)
        assert "{} to {}".format(*shown) in PAGE
    rows = re.findall(
        r"^\| [^|]+ \| (\d+) \| (\d+) to (\d+) \| ([\d.]+) \$ \| (\d+) to (\d+) \$ \| (.*) to (.*) \$", PAGE, re.M
    )
    assert len(rows) == 4
    for speed, *hours, price, low, high, few, many in rows:
        for ms, h, cost, of_few in zip((6, 8), hours, (low, high), (few, many), strict=True):
            exact = passes * ms / 3.6e6 * 989 / float(speed)
            assert round(exact) == int(h) and round(exact * float(price)) == int(cost)
            assert float(of_few) == pytest.approx(exact * float(price) * small / passes, abs=0.0051)


def test_all_images_in_one_file(place, tmp_path):
    path = tmp_path / "ends.nc"
    assert run.main(words(place, tmp_path / "run", "--ends", path)) == 0
    turns, about = run.load_uturns(path)
    model = models.load_small(place / "model.safetensors")
    images = run.open_images(place / "val", model, 2)
    assert images.labels.tolist() == [0, 1, 0, 1]
    for u, k in zip(turns, (1, 3), strict=True):
        assert u.k == k and u.first == 0
        expected = sampler.forward_backward(model, images, k, steps=4, show=False)
        assert torch.equal(u.start, images[0 : len(images)]) and torch.equal(u.end, expected)
    assert about["digest"] == model.digest and about["steps"] == 4 and "--ends" in about["command"]
    settings = dict(steps=4, seed=0, matched=False)
    again = run.stored_uturns(path, model, images, [1, 3], **settings)
    assert torch.equal(again[1].end, turns[1].end)
    assert run.stored_uturns(path, model, images, [1, 2], **settings) is None
    assert run.stored_uturns(path, model, images, [1, 3], **settings | dict(matched=True)) is None
    others = run.open_images(place / "val", model, 2, seed=1)
    assert run.stored_uturns(path, model, others, [1, 3], **settings) is None
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("content", [None, b"", b"CDF", b"\x89HDF\r\n\x1a\n"])
def test_a_file_that_is_none(tmp_path, content):
    path = tmp_path / "ends.nc"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"expected a file of hierlib.images.commands --ends"):
        run.load_uturns(path)
