"""Data sets and image files: what is read is what is there, and what is wrong with a file is said."""

import gzip
import struct

import pytest
import torch
from PIL import Image

from hierlib.images import data, files


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(size=(40, 48), mode="RGB", seed=0):
    """A PIL image of noise."""
    w, h = size
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = torch.randint(256, (h * w * channels,), generator=rng(seed), dtype=torch.uint8)
    return Image.frombytes(mode, size, pixels.numpy().tobytes())


def folder_of_classes(root, classes=("cat", "dog"), n=4, **options):
    for k, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(n):
            picture(seed=10 * k + i, **options).save(root / name / f"{i}.png")
    return root


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
    "16 bits": (lambda p: Image.new("I;16", (40, 48)).save(p), dict(convert=True), "got mode I;16; flatten it"),
    "wrong size": (lambda p: None, dict(resize=False), "expected 32 × 32 pixels, got 40 × 48; pass resize=True"),
    "tiny": (lambda p: picture((31, 90)).save(p), {}, "expected at least 32 pixels a side, got 31 × 90; remove it"),
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
    "other size": (gzip.compress(idx(3, 32, 32)), "expected n × 28 × 28 bytes, got 3 × 32 × 32"),
    "short": (gzip.compress(idx(3, 28, 28, body=b"\0" * 99)), "expected 2352 bytes of data, got 99; copy it again"),
}


@pytest.mark.parametrize("case", WRONG_IDX)
def test_a_bad_idx_file_is_named_with_what_is_wrong(tmp_path, case):
    content, why = WRONG_IDX[case]
    if content is not None:
        (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ValueError, match=f"t10k-images-idx3-ubyte.*{why}"):
        data.fashion_mnist("test", folder=tmp_path)


def test_fashion_mnist_from_files_packed_or_not(tmp_path):
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(3, 28, 28)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(3, body=bytes([0, 9, 5])))
    out = data.fashion_mnist("test", folder=tmp_path)
    assert out.images.shape == (3, 1, 28, 28) and out.labels.tolist() == [0, 9, 5] and out.classes[9] == "Ankle boot"
    assert torch.equal(out.images.flatten(), torch.randint(256, (3 * 784,), generator=rng(), dtype=torch.uint8))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(2, body=bytes([0, 9])))
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte: expected 3 bytes, got 2"):
        data.fashion_mnist("test", folder=tmp_path)


@pytest.mark.skipif(not data.DEBIAN.is_dir(), reason="not tested: Fashion-MNIST itself (dataset-fashion-mnist)")
def test_fashion_mnist_itself():
    test = data.fashion_mnist("test")
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


WRONG_FOLDERS = {
    "missing": (lambda p: p.rmdir(), {}, "with one folder of images for each class, got nothing there"),
    "a file": (lambda p: (p.rmdir(), p.write_text("")), {}, "with one folder of images for each class, got a file"),
    "not sorted": (flat, {}, "expected one folder for each class, got 3 image files side by side; sort them"),
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
    out = data.cifar10("test", folder=tmp_path)
    assert out.images.shape == (4, 3, 32, 32) and out.labels.tolist() == [0, 0, 1, 1] and out.classes == ("cat", "dog")
    with pytest.raises(ValueError, match="expected train/CLASS/ with image files or torchvision's copy"):
        data.cifar10("train", folder=tmp_path)
    with pytest.raises(ValueError, match='split: expected "train" or "test", got \'val\''):
        data.cifar10("val", folder=tmp_path)
    picture((33, 32)).save(tmp_path / "test" / "dog" / "9.png")
    with pytest.raises(ValueError, match=r"9\.png: expected 32 × 32 pixels, got 33 × 32"):
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
