"""Paths as people type them, from any folder, and the files of the book that chapters find from any folder."""

import os
import re
import typing
from pathlib import Path

import click
import pytest
from typer.main import get_command

from hierlib import _paths, book
from hierlib.book.commands import commands
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.params import resolve
from hierlib.book.runs.places import axes_in_place, in_place
from hierlib.book.runs.targets import find_target
from tests import sweeps, tiny

PARAMETERS = """\
images: str = "_models/own"  # a folder; path
nets: str = "_models/net-*.bin"  # a pattern or words; paths
keep: str = ""  # a folder; output
word: str = "x"  # any text
"""
SHOWING = '''
SHOWING = """\\
file: str = "here.txt"  # one; path
"""


def showing(*, file):
    return xr.Dataset({"size": Path(file).stat().st_size})
'''


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with files of its own, a folder beside it, and a home."""
    root = sweeps.make(tmp_path / "check out", **{"02_two": tiny.page("Two", "1", parameters=PARAMETERS)})
    quantities = root / "book" / "quantities.py"
    quantities.write_text(quantities.read_text() + SHOWING)
    for name in ("book/_models/own/a", "book/_models/net-0.bin", "book/_models/net-1.bin", "data/val/a", "n-0.bin"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name in ("away/val/a", "away/two words/net-[1].bin", "home/val/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize(
    "where, given, wanted",
    [
        (".", {"images": "data/val"}, {"images": "../data/val"}),
        (".", {"images": "./data//val/"}, {"images": "../data/val"}),
        (".", {"images": "book/_models/own"}, {"images": "_models/own"}),
        (".", {"images": "."}, {"images": ".."}),
        ("book", {"images": "_models/own"}, {"images": "_models/own"}),
        ("book", {"images": "../data/val"}, {"images": "../data/val"}),
        ("data/val", {"images": "."}, {"images": "../data/val"}),
        ("../away", {"images": "val"}, {"images": "{away}/val"}),
        (".", {"images": "../away/val"}, {"images": "{away}/val"}),
        (".", {"images": "~/val"}, {"images": "{home}/val"}),
        (".", {"images": "{away}/val"}, {"images": "{away}/val"}),
        (".", {"keep": "results/new"}, {"keep": "../results/new"}),
        (".", {"keep": "~/new"}, {"keep": "{home}/new"}),
        (".", {"keep": ""}, {"keep": ""}),
        (".", {"nets": "n-*.bin"}, {"nets": "../n-*.bin"}),
        (".", {"nets": "../away/two words/net-*.bin"}, {"nets": "{away}/two words/net-*.bin"}),
        (".", {"nets": "../away/two words/net-[1].bin"}, {"nets": "{away}/two words/net-[1].bin"}),
        (".", {"nets": "n-0.bin book/_models/net-1.bin"}, {"nets": "../n-0.bin _models/net-1.bin"}),
        (".", {"nets": "resnet18=n-0.bin vgg=download"}, {"nets": "resnet18=../n-0.bin vgg=download"}),
        (".", {"nets": "'../away/two words/net-*.bin' n-0.bin"}, {"nets": "'{away}/two words/net-*.bin' ../n-0.bin"}),
        (".", {"word": "data/val", "other": "data"}, {"word": "data/val", "other": "data"}),
    ],
)
def test_from_where_the_command_is_given(root, tmp_path, monkeypatch, where, given, wanted):
    places = {"away": str(tmp_path / "away"), "home": str(tmp_path / "home")}
    monkeypatch.chdir(root / where)
    found = in_place(find_target(root, "two"), {k: v.format(**places) for k, v in given.items()})
    assert found == {k: v.format(**places) for k, v in wanted.items()}
    if "keep" not in given and "other" not in given:
        names = resolve(find_target(root, "two").parameters, found)["images"]
        assert (root / "book" / names).exists(), "the chapter, which runs in book/, finds it"


@pytest.mark.parametrize(
    "given, why",
    [
        (
            {"images": "val"},
            r"got val, and there is nothing at .*out/val; relative paths count from ",
        ),
        ({"images": "_models/own"}, r"there is nothing at .*; is book/_models/own meant\?"),
        ({"images": ""}, "expected a path, got nothing"),
        ({"images": " "}, "expected a path, got nothing"),
        ({"images": "~nobody-here/x"}, r"no user is called so; ./~nobody-here/x is a file of that name"),
        ({"images": "a\0b"}, "with a character that no name can have"),
        ({"images": "x" * 300}, "x'… of 300 characters: a name is too long"),
        ({"images": "n-0.bin/val"}, "there is nothing at"),
        ({"nets": "none-*.bin"}, "got none-"),
        ({"nets": "n-0.bin none.bin"}, "got none.bin"),
        ({"nets": "resnet18=none.bin"}, "got none.bin"),
        ({"nets": "n-0.bin 'n"}, "close the quotation"),
        ({"nets": ""}, "expected a path, got nothing"),
        ({"keep": "~nobody-here"}, "no user is called so"),
    ],
)
def test_refused_with_where_it_was_looked_for(root, given, why):
    with pytest.raises(BadRequest, match=rf"(?s)^{next(iter(given))}: .*{why}"):
        in_place(find_target(root, "two"), given)


def test_a_quantity_runs_anywhere(root, tmp_path):
    assert in_place(find_target(root, "showing"), {"file": "n-0.bin"}) == {"file": str(root / "n-0.bin")}
    found = axes_in_place(find_target(root, "showing"), {"file": ["n-0.bin", "../away/val/a"]})
    assert found == {"file": [str(root / "n-0.bin"), str(tmp_path / "away/val/a")]}


def test_a_sweep_and_its_grid(root, call, monkeypatch):
    """Also what a grid's file names counts from where the command is given."""
    monkeypatch.setattr("hierlib.book.runs.sweep.processes", sweeps.here)
    (root / "n-1.bin").write_text("one")
    (root / "data" / "grid.yaml").write_text("file: [n-0.bin, n-1.bin]\n")
    code, out = call("sweep", "showing", "--grid", "data/grid.yaml", "--out", "~/out")
    assert code == 0 and "2 run" in out, out
    assert len(list((Path.home() / "out").iterdir())) == 2 and not (root / "~").exists()
    code, out = call("sweep", "showing", "-p", "file", "n-0.bin,n-2.bin", "--out", "out")
    assert code == 2 and "file: expected a file or a folder, got n-2.bin" in out and not (root / "out").exists()
    code, out = call("collect", "~/out", "--out", "~/all.nc")
    assert code == 0 and (Path.home() / "all.nc").exists()


@pytest.mark.parametrize(
    "words",
    [["run", "two", "--out", ""], ["sweep", "noise", "--out", " "], ["collect", ""], ["collect", "~nobody-here"]],
)
def test_no_path_at_all(root, call, words):
    code, out = call(*words)
    assert code == 2 and "expected a path, got" in " ".join(out.replace("│", " ").split())


def test_what_a_chapter_names_is_found_from_any_folder(root, monkeypatch):
    """By the runner in book/, by hand from elsewhere; where two things have the name, neither is taken."""
    monkeypatch.chdir(root / "book")
    assert book.path("_models/own") == Path("_models/own"), "as it is written, so that records stay"
    for where in (".", "data/val"):
        monkeypatch.chdir(root / where)
        assert book.path("_models/own") == root / "book" / "_models" / "own"
        assert book.path("_models/net-*.bin") == root / "book" / "_models" / "net-*.bin"
    monkeypatch.chdir(root)
    assert book.path("data/val") == Path("data/val") and book.path(str(root / "data")) == root / "data"
    with pytest.raises(_paths.Nothing, match=r"got nothing at .*out/none nor at .*out/book/none; .* also from book/"):
        book.path("none")
    (root / "_models").symlink_to("book/_models")
    assert book.path("_models/own") == Path("_models/own")
    os.remove(root / "_models")
    (root / "_models" / "own").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"expected one place, got .*; write out the one that is meant"):
        book.path("_models/own")


def commands_of(group, words=()):
    """Every command of the command line, as it is spelled."""
    for name in group.list_commands(click.Context(group)):
        one = group.get_command(click.Context(group), name)
        yield from commands_of(one, (*words, name)) if hasattr(one, "list_commands") else [((*words, name), one)]


# Texts that speak of files and are none, or are words of which some are; these have tests of their own.
NO_PATHS = {"data", "probe", "parameters", "of"}


def test_every_option_that_takes_a_path_takes_it_as_it_is_typed():
    """Of all commands that there are: a new one cannot forget it."""
    found = 0
    for words, command in commands_of(get_command(commands)):
        for name, hint in typing.get_type_hints(command.callback, include_extras=True).items():
            kind, *options = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
            if Path in (kind, *typing.get_args(kind)):
                assert [each.parser for each in options] == [_paths.typed_option], f"{words}: {name}"
                found += 1
            elif str in (kind, *typing.get_args(kind)) and options and name not in NO_PATHS:
                said = f"{options[0].help} {options[0].metavar}"
                assert not re.search(r"\b([Ff]iles?|[Ff]older|FILE|PATH)\b", said), f"{words}: is {name} a path?"
    assert found >= 25


@pytest.mark.parametrize("folder", ["benchmarks", "hierlib"])
def test_no_program_of_its_own_has_another_kind_of_path(folder):
    for path in (Path(__file__).parents[1] / folder).rglob("*.py"):
        assert not re.search(r"Annotated\[(list\[)?Path\b[^,]*, typer\.", path.read_text()), path


def test_a_home_is_no_folder_of_that_name(root, call):
    """Where the commands of networks, texts and images write to."""
    (root / "text.txt").write_text("a few words\n\n" * 9)
    code, out = call("train", "text", "fit", "--data", "~/none.txt", "--out", "~/x.safetensors")
    assert code == 2 and f"{Path.home()}/none.txt" in out and not (root / "~").exists()
    code, out = call("images", "card", "~nobody-here")
    assert code == 2 and "no user is called so" in " ".join(out.replace("│", " ").split())
