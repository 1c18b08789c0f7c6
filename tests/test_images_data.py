"""Data sets and image files: what is read is what is there, and what is wrong with a file is said."""

import gzip
import struct
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from hierlib.images import data, files
from tests.images import folder_of_classes, picture, rng


def test_a_file_of_the_right_size_is_read_as_it_is(tmp_path):
    image = picture((40, 40))
    image.save(tmp_path / "a.png")
    expected = torch.tensor(list(image.tobytes()), dtype=torch.uint8).reshape(40, 40, 3).permute(2, 0, 1)
    for resize in (True, False):
        assert torch.equal(files.read_image(tmp_path / "a.png", 40, resize=resize), expected)


@pytest.mark.parametrize("size", [(40, 32), (32, 40)])
def test_crop_takes_the_middle_and_halves_by_boxes(size):
    """Twice the size: exactly the mean over 2 × 2 boxes of the middle square, as guided-diffusion does it."""
    image = picture(size)
    out = torch.frombuffer(bytearray(files.centre_crop(image, 16).tobytes()), dtype=torch.uint8).reshape(16, 16, 3)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(size[1], size[0], 3).float()
    boxes = pixels.unflatten(0, (-1, 2)).unflatten(2, (-1, 2)).mean((1, 3))
    middle = boxes[:, 2:18] if size == (40, 32) else boxes[2:18]
    assert (out.float() - middle).abs().max() <= 1, "rounded once for each axis"
    assert files.centre_crop(picture((300, 70)), 64).size == (64, 64)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P"])
def test_grey_and_cmyk_are_converted_on_request(tmp_path, mode):
    path = tmp_path / ("a.png" if mode == "P" else "a.jpg")
    image = picture(mode="RGB").convert("P") if mode == "P" else picture(mode=mode)
    image.save(path)
    assert files.read_image(path, 32, convert=True).shape == (3, 32, 32)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_bytes(path):
    content = bytearray(path.read_bytes())
    content[60:160] = bytes(255 - b for b in content[60:160])
    path.write_bytes(content)


def png_of_16_bits(path):
    """As a camera's raw converter writes it; Pillow has no such mode and would keep the upper half of each number."""
    head, rows = struct.pack(">IIBBBBB", 40, 48, 16, 2, 0, 0, 0), (b"\0" + b"\0\xff" * 3 * 40) * 48
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(c)) + t + c + struct.pack(">I", zlib.crc32(t + c)) for t, c in parts]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def tiff_of_16_bits(path, planes=1):
    """The same as an uncompressed TIFF, the colours of a pixel side by side or in planes of their own."""
    n, at = (40 * 48 * 2, 200) if planes == 3 else (40 * 48 * 6, 200)
    lists = {258: (16, 16, 16), 273: [at + n * i for i in range(planes)], 279: [n] * planes}
    plain = {256: 40, 257: 48, 259: 1, 262: 2, 277: 3, 278: 48, 284: 2 if planes == 3 else 1}
    entries, more = [], b""
    for tag, value in sorted((lists | plain).items()):
        values = value if isinstance(value, list | tuple) else [value]
        kind, code = (3, "H") if tag != 273 else (4, "I")
        data = struct.pack(f"<{len(values)}{code}", *values)
        if len(data) > 4:
            more, data = more + data, struct.pack("<I", 8 + 2 + 12 * 10 + 4 + len(more))
        entries.append(struct.pack("<HHI", tag, kind, len(values)) + data.ljust(4, b"\0"))
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(entries) + bytes(4) + more
    path.write_bytes(head.ljust(at, b"\0") + b"\xff\0" * (40 * 48 * 3))


def several(path, kind, **options):
    picture().save(path, kind, save_all=True, append_images=[picture(seed=1)], **options)


FLAT, ONE = "flatten it to 8-bit RGB first", "expected one image, got 2 in one file; keep the one"
WRONG = {  # what is done to a good file, arguments, what is said
    "missing": (lambda p: p.unlink(), {}, "expected an image file, got nothing there; check the path"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), {}, "expected an image file, got a folder; check"),
    "empty": (lambda p: p.write_bytes(b""), {}, "expected an image file, got an empty one; copy it again"),
    "text": (lambda p: p.write_text("<html>404"), {}, "expected a JPEG or PNG image, got another kind of file; remove"),
    "cut png": (cut, {}, "expected a whole image, got a damaged file .*; copy it again"),
    "cut jpeg": (lambda p: (picture().save(p, "JPEG"), cut(p)), {}, "expected a whole image, got a damaged file"),
    "damaged png": (flip_bytes, {}, "expected a whole image, got a damaged file"),
    "grey": (lambda p: picture(mode="L").save(p), {}, "expected an RGB image, got mode L; pass convert=True"),
    "palette": (lambda p: picture().convert("P").save(p), {}, "got mode P; pass convert=True"),
    "cmyk": (lambda p: picture(mode="CMYK").save(p, "JPEG"), {}, "got mode CMYK; pass convert=True"),
    "transparent": (lambda p: picture(mode="RGBA").save(p), dict(convert=True), "got mode RGBA; flatten it"),
    "16 bits": (
        lambda p: Image.new("I;16", (40, 48)).save(p),
        dict(convert=True),
        "got mode I;16 of 16 bits a channel; flatten it",
    ),
    "16 bits of colour": (png_of_16_bits, dict(convert=True), f"got mode RGB of 16 bits a channel; {FLAT}"),
    "16 bits, tiff": (tiff_of_16_bits, {}, f"got mode RGB of 16 bits a channel; {FLAT}"),
    "16 bits, planes": (lambda p: tiff_of_16_bits(p, 3), {}, f"got mode RGB of 16 bits a channel; {FLAT}"),
    "10 bits": (lambda p: p.write_bytes(b"P6 40 48 1023\n" + b"\2\0" * 5760), {}, f"RGB of 16 bits a channel; {FLAT}"),
    "clear colour": (lambda p: picture().save(p, transparency=(1, 2, 3)), dict(convert=True), f"transparent .*{FLAT}"),
    "pages": (lambda p: several(p, "TIFF"), {}, ONE),
    "film": (lambda p: several(p, "PNG"), {}, ONE),
    "gif film": (lambda p: several(p, "GIF"), dict(convert=True), ONE),
    "webp film": (lambda p: several(p, "WEBP"), {}, ONE),
    "wrong size": (lambda p: None, dict(resize=False), "expected 32 × 32 pixels, got 40 × 48; pass resize=True"),
    "tiny": (
        lambda p: picture((31, 90)).save(p),
        {},
        "at least 32 pixels .* of 32, got 31 × 90; remove it",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, case):
    path = tmp_path / "bad.png"
    picture().save(path)
    assert files.read_image(path, 32).shape == (3, 32, 32), "the file is good before"
    spoil, options, why = WRONG[case]
    spoil(path)
    with pytest.raises(ValueError, match=rf"bad\.png: .*{why}"):
        files.read_image(path, 32, **options)


def test_a_small_file_is_enlarged_fourfold_at_most(tmp_path):
    path = tmp_path / "small.png"
    picture((64, 90)).save(path)
    assert files.read_image(path, 256).shape == (3, 256, 256)
    with pytest.raises(ValueError, match=r"small\.png: .*at least 65 pixels a side for images of 257, got 64 × 90"):
        files.read_image(path, 257)


def test_a_photograph_with_a_preview_is_one_image(tmp_path):
    """Phones keep previews and maps of brightness behind a JPEG, which is what every program shows."""
    several(tmp_path / "a.jpg", "MPO")
    picture().save(tmp_path / "b.jpg")
    assert torch.equal(files.read_image(tmp_path / "a.jpg", 32), files.read_image(tmp_path / "b.jpg", 32))


def test_no_other_format_is_tried(tmp_path, monkeypatch):
    """PostScript with the name of a JPEG would start a program, and nothing that is no photograph is needed."""
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **b: pytest.fail("a program was started"))
    path = tmp_path / "a.jpg"
    picture().save(path, "EPS")
    with pytest.raises(ValueError, match="expected a JPEG or PNG image, got another kind of file"):
        files.read_image(path, 32)


def idx(*shape, kind=8, body=None):
    body = torch.randint(256, shape, generator=rng(), dtype=torch.uint8).numpy().tobytes() if body is None else body
    return b"\0\0" + bytes([kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body


WRONG_IDX = {
    "missing": (None, "got nothing there; Debian's package dataset-fashion-mnist has the files, or pass download"),
    "not packed": (b"plain", "expected a whole gzip file, got a damaged one"),
    "cut": (gzip.compress(idx(3, 28, 28))[:-20], "expected a whole gzip file, got a damaged one"),
    "not idx": (gzip.compress(b"P5 28 28 255"), "expected an idx file of bytes, got one that starts with 50352032"),
    "floats": (
        gzip.compress(idx(3, 28, 28, kind=13)),
        "expected an idx file of bytes, got one that starts with 0000",
    ),
    "other shape": (gzip.compress(idx(3, 784)), "expected n × n × n bytes, got 3 × 784"),
    "no image": (gzip.compress(idx(0, 28, 28)), "expected at least one image, got 0 × 28 × 28"),
    "short": (gzip.compress(idx(3, 28, 28, body=b"\0" * 99)), "expected 2352 bytes of data, got 99; copy it again"),
}


@pytest.mark.parametrize("case", WRONG_IDX)
def test_a_bad_idx_file_is_named_with_what_is_wrong(tmp_path, case):
    content, why = WRONG_IDX[case]
    if content is not None:
        (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(content)
        (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(0))
    with pytest.raises(ValueError, match=why):
        data.idx_images("test", folder=tmp_path)


def test_files_of_mnist_packed_or_not(tmp_path):
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(3, 28, 28)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(3, body=bytes([0, 9, 5])))
    out = data.idx_images("test", folder=tmp_path)
    assert out.images.shape == (3, 1, 28, 28) and out.labels.tolist() == [0, 9, 5] and out.classes[9] == "class 9"
    assert out.licence == "unknown" and out.known == "" and out.name == f"unnamed images {out.digest()[:12]}"
    assert torch.equal(out.images.flatten(), torch.randint(256, (3 * 784,), generator=rng(), dtype=torch.uint8))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(2, body=bytes([0, 9])))
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte: expected 3 bytes, got 2"):
        data.idx_images("test", folder=tmp_path)


def test_both_names_of_the_files_and_contents_that_differ(tmp_path):
    """A dot for a hyphen, packed without saying so, and not packed with .gz: contents decide."""
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(gzip.compress(idx(3, 28, 28)))
    (tmp_path / "t10k-labels.idx1-ubyte.gz").write_bytes(idx(3, body=bytes([0, 1, 2])))
    out = data.idx_images("test", folder=tmp_path)
    assert out.labels.tolist() == [0, 1, 2]
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(3, 28, 28))
    assert data.idx_images("test", folder=tmp_path).digest() == out.digest(), "the same content twice"
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(3, 28, 28, body=bytes(3 * 784)))
    with pytest.raises(ValueError, match=r"one content of t10k-images-idx3-ubyte, got .* which differ; remove one"):
        data.idx_images("test", folder=tmp_path)


def test_what_comes_with_the_book_is_known_by_its_contents():
    shipped = Path(__file__).parents[1] / "book" / "_models" / "fashion"
    out = data.idx_images("test", folder=shipped)
    assert (out.name, out.licence, out.known) == ("Fashion-MNIST, test", data.ZALANDO, "fashion-mnist")
    assert out.classes == data.FASHION
    few = out.choose(3, seed=1)
    assert few.known == "fashion-mnist" and few.labels.tolist() == [k for k in range(10) for _ in range(3)]
    shuffled = data.replace(out, labels=out.labels.roll(1))
    assert shuffled.digest() not in data.KNOWN, "labels count, too"


@pytest.mark.skipif(not data.DEBIAN.is_dir(), reason="not tested: Fashion-MNIST itself (dataset-fashion-mnist)")
def test_fashion_mnist_itself():
    test = data.idx_images("test")
    assert test.images.shape == (10_000, 1, 28, 28) and torch.equal(test.labels.bincount(), torch.full((10,), 1000))
    few = test.choose(3, seed=1)
    assert few.labels.tolist() == [k for k in range(10) for _ in range(3)]
    assert torch.equal(few.images, test.choose(3, seed=1).images)
    assert not torch.equal(few.images, test.choose(3, seed=2).images) and few.digest() != test.digest()
    with pytest.raises(ValueError, match="T-shirt/top: expected at least 1001 images of this class, got 1000"):
        test.choose(1001)


def test_a_folder_of_classes(tmp_path):
    root = folder_of_classes(tmp_path / "val", n=6)
    images = data.image_folder(root, per_class=2, size=32)
    assert images.classes == ("cat", "dog") and images.labels.tolist() == [0, 0, 1, 1] and len(images) == 4
    assert images[1:3].shape == (2, 3, 32, 32) and torch.equal(images[1:3][0], images[1])
    assert torch.equal(images[0], files.read_image(images.paths[0], 32))


def test_the_choice_is_the_same_whatever_else_is_there(tmp_path):
    root = folder_of_classes(tmp_path / "val", n=6)
    before = data.image_folder(root, per_class=2, size=32, seed=3)
    more = data.image_folder(root, per_class=3, size=32, seed=3)
    assert set(before.paths) < set(more.paths), "more per class only adds"
    folder_of_classes(root, classes=("ant",))
    (root / "cat" / "notes.txt").write_text("no image")
    after = data.image_folder(root, per_class=2, size=32, seed=3)
    assert after.paths[2:] == before.paths
    seeds = {data.image_folder(root, per_class=2, size=32, seed=s).paths for s in range(9)}
    assert len(seeds) > 3, "another seed is another choice"


def flat(root):
    for i in range(3):
        picture(seed=i).save(root / f"{i}.png")


LEFT = [".ipynb_checkpoints", ".git", "__MACOSX", "@eaDir", "System Volume Information", "$RECYCLE.BIN", "lost+found"]


@pytest.mark.parametrize("name", LEFT)
@pytest.mark.parametrize("filled", [False, True])
def test_what_a_program_has_left_is_no_class(tmp_path, name, filled):
    root = folder_of_classes(tmp_path / "val", n=4)
    before = data.image_folder(root, per_class=3, size=32)
    if filled:
        folder_of_classes(root, classes=(name,))
    else:
        (root / name).mkdir()
    found = data.image_folder(root, per_class=3, size=32)
    assert found.classes == ("cat", "dog") and found.paths == before.paths
    assert found.passed_over == (name,) and name in data.said(found) and not data.said(before)


def test_files_that_are_no_images_of_a_class_are_passed_over_and_said(tmp_path):
    root = folder_of_classes(tmp_path / "val", n=4, suffix="JPEG")
    for path in [*root.rglob("*.JPEG")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(100))
    for name in ("cat/notes.txt", "cat/.DS_Store", "Thumbs.db", "dog/more/5.JPEG", "loose.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    (root / "cat" / "folder.jpg").mkdir()
    found = data.image_folder(root, per_class=4, size=32)
    assert [path.name for path in found.paths] == [f"{i}.JPEG" for i in range(4)] * 2
    left = {"Thumbs.db", "cat/notes.txt", "cat/folder.jpg", "dog/more", "loose.png", "cat/._0.JPEG"}
    assert left <= {*found.passed_over}
    with pytest.raises(ValueError, match="cat: expected at least 5 images of this class, got 4"):
        data.image_folder(root, per_class=5, size=32)
    assert data.said(found).endswith(" more")


def test_all_bad_files_are_named_at_once_and_the_digest_is_that_of_the_pixels(tmp_path):
    root = folder_of_classes(tmp_path / "val", n=4)
    found = data.image_folder(root, per_class=4, size=32)
    read = []
    in_memory = data.LabelledImages(found[:], found.labels, found.classes, "")
    assert found.digest(read.append) == in_memory.digest() and read == [*range(1, 9)]
    assert data.image_folder(root, per_class=3, size=32).digest() != found.digest()
    (root / "cat" / "1.png").write_bytes(b"")
    (root / "dog" / "0.png").write_text("<html>404")
    (root / "dog" / "3.png").unlink()
    with pytest.raises(ValueError, match=r"1\.png: .*got an empty one.*; 2 more are no better: 0\.png, 3\.png"):
        found.digest()


WRONG_FOLDERS = {
    "missing": (lambda p: p.rmdir(), {}, "with one folder of images for each class, got nothing there"),
    "a file": (lambda p: (p.rmdir(), p.write_text("")), {}, "with one folder of images for each class, got a file"),
    "not sorted": (flat, {}, "expected one folder for each class, got 3 image files side by side; sort them"),
    "an empty class": (
        lambda p: (folder_of_classes(p), (p / "empty").mkdir()),
        {},
        "empty: expected image files of a class, got none; put them right into it, or move it away",
    ),
    "a level too high": (
        lambda p: (folder_of_classes(p / "val"), folder_of_classes(p / "train")),
        {},
        "train: expected image files of a class, got none and 2 folders; put them right into it",
    ),
    "too few": (folder_of_classes, dict(per_class=5), "cat: expected at least 5 images of this class, got 4; ask for"),
    "none wanted": (folder_of_classes, dict(per_class=0), "per_class: expected at least 1, got 0"),
}


@pytest.mark.parametrize("case", WRONG_FOLDERS)
def test_a_bad_folder_is_named_with_what_is_wrong(tmp_path, case):
    root = tmp_path / "val"
    root.mkdir()
    make, options, why = WRONG_FOLDERS[case]
    make(root)
    with pytest.raises(ValueError, match=why):
        data.image_folder(root, **dict(per_class=1, size=32) | options)


def test_cifar10_from_a_folder(tmp_path):
    folder_of_classes(tmp_path / "test", n=2, size=(32, 32))
    (tmp_path / "test" / ".DS_Store").touch()
    (tmp_path / "test" / "cat" / "._0.png").touch()
    out = data.cifar10("test", folder=tmp_path)
    assert out.images.shape == (4, 3, 32, 32) and out.labels.tolist() == [0, 0, 1, 1] and out.classes == ("cat", "dog")
    assert "CIFAR" not in out.name and out.licence == "unknown" and out.known == "", "any images may lie so"
    with pytest.raises(ValueError, match="expected train/CLASS/ with image files or cifar-10-batches-py, got neither"):
        data.cifar10("train", folder=tmp_path)
    with pytest.raises(ValueError, match='split: expected "train" or "test", got \'val\''):
        data.cifar10("val", folder=tmp_path)
    picture((33, 32)).save(tmp_path / "test" / "dog" / "9.png")
    with pytest.raises(ValueError, match=r"9\.png: expected 32 × 32 pixels, got 33 × 32"):
        data.cifar10("test", folder=tmp_path)


def test_cifar10_that_is_not_unpacked_or_damaged(tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").touch()
    with pytest.raises(ValueError, match=r"got cifar-10-python\.tar\.gz; pass download=True .* or unpack the original"):
        data.cifar10("test", folder=tmp_path)
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    for folder in (tmp_path, batches):
        with pytest.raises(ValueError, match=r"data_batch_1: expected the file with md5 .*, got nothing there"):
            data.cifar10("test", folder=folder)
    (batches / "data_batch_1").write_bytes(b"cos\nsystem\n(S'true'\ntR.")  # a pickle, which nobody opens
    with pytest.raises(ValueError, match=r"data_batch_1: expected the file with md5 .*, got another or a damaged file"):
        data.cifar10("test", folder=tmp_path)


def test_jpeg_of_the_samples(tmp_path):
    smooth = torch.arange(0, 240, 5, dtype=torch.uint8).expand(2, 3, 40, 48).clone()
    smooth[1] = smooth[1].flip(2)
    out = files.as_jpeg(smooth)
    assert out.shape == smooth.shape and 0 < (out.float() - smooth.float()).abs().max() < 10
    Image.fromarray(smooth[1].permute(1, 2, 0).numpy()).save(tmp_path / "a.jpg")  # with Pillow's default quality
    assert torch.equal(files.read_image(tmp_path / "a.jpg", 40)[:, :, :], out[1][:, :, 4:44])
    assert not torch.equal(files.as_jpeg(smooth, 20), out)
    with pytest.raises(ValueError, match=r"expected uint8 \(n, 3, height, width\), got torch.uint8 \(2, 1, 40, 48\)"):
        files.as_jpeg(smooth[:, :1])


def test_any_torchvision_data_set():
    from torchvision.datasets import FakeData
    from torchvision.transforms import Resize

    out = data.from_torchvision(FakeData(5, (3, 20, 20), num_classes=3))
    assert out.images.shape == (5, 3, 20, 20) and out.images.dtype == torch.uint8 and out.name == "FakeData"

    class Uneven(FakeData):
        def __getitem__(self, i):
            image, label = super().__getitem__(i)
            return (Resize(9)(image) if i == 2 else image), label

    with pytest.raises(ValueError, match=r"image 2 of the data set: expected 8 bits and shape \(3, 20, 20\)"):
        data.from_torchvision(Uneven(5, (3, 20, 20)))
    with pytest.raises(ValueError, match="at least one image"):
        data.from_torchvision([])
    few = FakeData(5, (3, 20, 20), num_classes=3)
    few.classes = ("a", "b")
    with pytest.raises(ValueError, match=r"expected labels 0…1 of its classes, got .*…2"):
        data.from_torchvision(few)
