"""The page that tells how to make figure 2 on ImageNet: its commands are understood, its arithmetic is right."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from hierlib.book.image_commands import app
from hierlib.book.runs.checkout import chapters, find_checkout
from hierlib.book.runs.run import prepare
from hierlib.images.probe import ARCHITECTURES, torchvision_probe

CHAPTERS = chapters(find_checkout(Path(__file__).parent))
PAGE = (Path(__file__).parents[1] / "book" / "figure-2-on-imagenet.md").read_text("utf-8")
COMMANDS = [block.replace("\\\n", " ").strip() for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S)]


def commands(program):
    return [shlex.split(line)[len(program.split()) :] for line in COMMANDS if line.startswith(program + " ")]


def understood(name):
    """What `hierlib images NAME` makes of the words of the page."""
    command = get_command(app).commands[name]
    return [command.make_context(name, words).params for words in commands(f"hierlib images {name}")]


def times(options):
    return [int(k) for words in options["k"] for k in words.split(",")]


def test_commands_of_the_page_about_imagenet_are_understood():
    options = understood("run")
    assert len(options) == 2 and options[0]["per_class"] == 10 and times(options[0])[-1] == options[0]["steps"] == 250
    assert {word.split("=")[0] for word in options[0]["probe"]} == set(ARCHITECTURES)
    assert understood("download")[0]["file"] == options[0]["weights"]
    [figure] = understood("figure")
    assert figure["results"] == options[0]["folder"] and figure["out"] == Path("figure2.pdf")
    [[_, code]] = commands("python")[:1]
    compile(code, "the page", "exec")
    known = {flag for param in get_command(app).commands["run"].params for flag in param.opts}
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) <= known


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
    options = understood("run")
    passes = 10_000 * sum(times(options[0]))
    small = 32 * options[1]["per_class"] * sum(times(options[1]))
    assert passes == 13_750_000 and 256 * 1375 == 352_000 and round(small, -3) == 141_000
    assert 0.95 < 10_000 * len(times(options[0])) * 3 * 256**2 / 20e9 < 1.05, "bytes of the images"
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
