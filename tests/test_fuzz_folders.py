"""Fuzzing of what a folder may hold: documented errors only, no hang, and no fact that the contents do not bear out.

HIERLIB_FUZZ=10 tries ten times as many inputs, and other ones each time.
"""

import gzip
import io
import json
import shutil
import struct
import tempfile
from pathlib import Path

import pytest
import regex
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hierlib._storage import read_tensors, recorded_inputs
from hierlib.images import card, data, files, storage
from hierlib.images.experiment import words_of
from hierlib.images.models import load_weights
from hierlib.text.corpus import Corpus, join, read_passages, split
from tests import fuzz
from tests.fuzz import only

INPUTS = {"idx": 200, "folders": 150, "images": 100, "corpora": 150, "files": 100, "patterns": 50}


def many(what):
    """So many inputs, the same ones each time unless more are asked for."""
    return fuzz.many(INPUTS[what])


def test_there_are_enough():
    assert sum(INPUTS.values()) >= 700


class Folder:
    """A folder that is gone after the block."""

    def __enter__(self):
        self.path = Path(tempfile.mkdtemp())
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


# --- files in MNIST's format --------------------------------------------------------------------------------------

SIZES = st.sampled_from([0, 1, 2, 3, 5, 28, 255, 2**31, 2**32 - 1])


PACKED = [lambda x: x, gzip.compress, lambda x: gzip.compress(x)[:-5], lambda x: x + b"\x1f\x8b"]


@st.composite
def idx(draw):
    """An idx file, whole or not, packed or not, of any shape."""
    shape = draw(st.sampled_from([(3, 28, 28), (3,), (2,), (1, 1, 1), (0, 28, 28)]) | st.lists(SIZES, max_size=5))
    small = 1
    for n in shape:
        small *= n
    size = small if small <= 5000 else draw(st.integers(0, 50))
    size += draw(st.sampled_from([0, 0, 0, 0, -1, 1, 100]))
    kind = draw(st.sampled_from([8, 8, 8, 8, 9, 13, 0]))
    body = bytes(i * 7 % 256 for i in range(max(0, size)))
    content = b"\0\0" + bytes([kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body
    content = content[: draw(st.sampled_from([None, None, None, 2, 6, -3]))]
    content = draw(st.sampled_from([content, content, content, b"", b"text"]) | st.binary(max_size=40))
    return draw(st.sampled_from(PACKED))(content)


STEMS = st.sampled_from([f"{stem}-{kind}" for stem in ("t10k", "train") for kind in ("images", "labels")])
ENDS = st.sampled_from(["-idx3-ubyte", "-idx1-ubyte", ".idx3-ubyte", ".idx1-ubyte"])
IDX = st.dictionaries(st.tuples(STEMS, ENDS, st.sampled_from(["", ".gz"])), idx(), max_size=5)
PAIR = st.tuples(idx(), idx()).map(
    lambda pair: {("t10k-images", "-idx3-ubyte", ""): pair[0], ("t10k-labels", ".idx1-ubyte", ".gz"): pair[1]}
)


@pytest.mark.slow
@many("idx")
@given(IDX | PAIR, st.sampled_from(["test", "train"]), st.integers(0, 3))
def test_files_of_mnist(content, split_, per_class):
    with Folder() as folder:
        for name, each in content.items():
            (folder / "".join(name)).write_bytes(each)
        with only(ValueError):
            found = data.idx_images(split_, folder=folder)
            assert found.images.dtype == torch.uint8 and found.images.ndim == 4
            assert len(found.images) == len(found.labels)
            assert not found.known and found.licence == "unknown" and int(found.labels.max()) < len(found.classes)
            assert len(found.choose(per_class)) == per_class * len(found.classes)


# --- folders of classes ---------------------------------------------------------------------------------------------


def encoded(size, kind, **options):
    stream = io.BytesIO()
    Image.new("RGB", size, (9, 90, 200)).save(stream, kind, **options)
    return stream.getvalue()


WHOLE = [encoded((40, 36), kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF")]
WHOLE += [encoded((31, 40), "PNG"), encoded((33, 900), "JPEG")]
CONTENTS = st.sampled_from([*WHOLE, b"", b"<html>", WHOLE[0][:60], WHOLE[1][:200], b"%!PS-Adobe-3.0 EPSF-3.0\n"])
CLASSES = st.sampled_from(["cat", "dog", ".git", "._cat", "__MACOSX", "@eaDir", "fashion", "é", "\udcff", "x" * 200])
NAMES = st.sampled_from(["0.png", "1.JPEG", "._0.png", ".DS_Store", "notes.txt", "2", "3.gif.png", "\udcff.png"])
TREE = st.dictionaries(CLASSES, st.dictionaries(NAMES, CONTENTS, max_size=5), max_size=4)
ODD = st.sampled_from(["a link to nowhere.png", "a link to itself", "a folder.png", "loose.png", "deep/cat/0.png", ""])


def plant(folder, tree, odd):
    for name, inside in tree.items():
        (folder / name).mkdir(exist_ok=True)
        for file, content in inside.items():
            (folder / name / file).write_bytes(content)
    at = folder / next(iter(tree)) if tree else folder
    if odd == "a folder.png":
        (at / odd).mkdir()
    elif odd == "a link to itself":
        (at / odd).symlink_to(at)
    elif odd.startswith("a link"):
        (at / odd).symlink_to(folder / "nowhere")
    elif odd:
        (folder / odd).parent.mkdir(parents=True, exist_ok=True)
        (folder / odd).write_bytes(WHOLE[0])


@pytest.mark.slow
@many("folders")
@given(TREE, ODD, st.integers(0, 3), st.booleans())
def test_folders_of_classes(tree, odd, per_class, convert):
    with Folder() as folder:
        plant(folder, tree, odd)
        with only(ValueError):
            found = data.image_folder(folder, per_class=per_class, size=32, convert=convert)
            assert all(not name.startswith(".") and name not in data.LEFT for name in found.classes)
            assert all(not path.name.startswith(".") for path in found.paths)
            assert len(found) == per_class * len(found.classes) and not found.known
            data.said(found)
            assert len(found.digest()) == 64 and found[:].shape == (len(found), 3, 32, 32)
        with only(ValueError):
            assert data.labelled_images(folder, size=32).licence == "unknown"
        with only(ValueError):
            data.cifar10("test", folder=folder)


DAMAGE = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=12)


@pytest.mark.filterwarnings("ignore")  # Pillow tells of tags that it skips
@many("images")
@given(st.sampled_from(WHOLE), DAMAGE, st.booleans())
def test_images_with_damage(content, damage, convert):
    spoilt = bytearray(content)
    for place, byte in damage:
        spoilt[place % len(spoilt)] = byte
    with Folder() as folder:
        (folder / "x.png").write_bytes(spoilt)
        with only(ValueError):
            assert files.read_image(folder / "x.png", 32, convert=convert).shape == (3, 32, 32)


# --- texts ----------------------------------------------------------------------------------------------------------

LETTERS = st.characters(codec="utf-8")
LINES = st.text(LETTERS | st.sampled_from("aé ,.\n\r\t\u0301\u093e\u094d\u200c\u200d\ufeff\u2028▒…"), max_size=200)
CODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "shift-jis"])


TEXTS = st.tuples(LINES, CODINGS).map(lambda x: x[0].encode(x[1], "replace")) | st.binary(max_size=60)


@many("corpora")
@given(TEXTS, st.integers(1, 4))
def test_corpora(content, length):
    with Folder() as folder:
        path = folder / "text.txt"
        path.write_bytes(content * 3)
        with only(ValueError):
            passages = read_passages(path)
            words = [word for lines in passages for line in lines for word in line]
            assert words and all(words) and all(split(join([word])) for word in words)
            corpus = Corpus.read(path, length=length, vocabulary=6, every=2, shuffle=length > 2)
            assert corpus.windows(1)[0].shape == (1, length)


@many("corpora")
@given(LINES)
def test_nothing_of_a_text_is_lost(text):
    """What is no white space is in a word, in order."""
    assert "".join(split(text)) == regex.sub(r"\s", "", text)


# --- weights, results, cards ----------------------------------------------------------------------------------------

KEYS = st.sampled_from(["kind", "sha256", "about", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner),
    max_leaves=5,
)
HEADS = st.builds(lambda x: (lambda s: struct.pack("<Q", len(s)) + s)(json.dumps(x).encode()), JSON)
BYTES = st.binary(max_size=40) | HEADS | st.sampled_from([b"CDF\x01" + bytes(28), b"\x89HDF\r\n\x1a\n" + bytes(40)])


@many("files")
@given(BYTES, JSON.map(lambda x: json.dumps(x).encode()) | BYTES, st.sampled_from(["x", "._x", ".x"]))
def test_files_that_are_no_results(content, about, stem):
    with Folder() as folder:
        for suffix in (".safetensors", ".nc"):
            (folder / f"{stem}{suffix}").write_bytes(content)
        (folder / f"{stem}.json").write_bytes(about)
        for call in (
            lambda: read_tensors(folder / f"{stem}.safetensors"),
            lambda: storage.load_layers(folder / f"{stem}.safetensors"),
            lambda: load_weights(folder / f"{stem}.safetensors", "classifier"),
            lambda: storage.load_uturns(folder / f"{stem}.nc"),
            lambda: recorded_inputs(folder / f"{stem}.nc"),
            lambda: card.model_card(folder),
        ):
            with only(ValueError):
                call()


WORDS = st.text(st.sampled_from("ab*?[]'\"\\ =/.-é\0"), max_size=12)


@many("patterns")
@given(WORDS)
def test_patterns_of_files(words):
    with only(ValueError):
        assert all(isinstance(word, str) and word for word in words_of(words)), words
