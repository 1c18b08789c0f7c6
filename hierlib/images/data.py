"""Image data sets as uint8 tensors with labels: files in MNIST's format, CIFAR-10, a folder of classes, torchvision's.

What a data set is called, what its classes are called and under which licence it is, is said where its contents are
known by their digest or by the md5 of its archive, never because of the name of a file or folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import hierlib._torchvision  # noqa: F401
from hierlib._seeds import checked
from hierlib.images.files import read_idx, read_image

if TYPE_CHECKING:
    from PIL.Image import Image


DEBIAN = Path("/usr/share/datasets/fashion-mnist")  #: where Debian's package dataset-fashion-mnist puts the files
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm")
LEFT = ("__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information", "lost+found")
#: Folders that systems leave, in lower case; what starts with a dot is passed over in any case.

ZALANDO, KRIZHEVSKY = "MIT (Zalando SE)", "free use (Krizhevsky 2009)"
#: Digest of images and labels → what they are, all of Fashion-MNIST, and the part of it that comes with the book.
KNOWN = {
    "a8007d7be041707b663947cf4c2d8a73d1704ccde85043273b866d5181bde6c2": "Fashion-MNIST, train",
    "3581bf52f521803120533f28e81ae934decd1771980630083c739dc6da7d3bc6": "Fashion-MNIST, test",
    "423f62d23f797f19aa2455f0ef1bf65f343d8b1a1c8534ca2a24b84a620bc798": "Fashion-MNIST, test",
}


@dataclass(frozen=True)
class LabelledImages:
    """A data set in memory.

    Attributes:
        images: (n, channels, height, width) uint8.
        labels: (n,) int64.
        classes: name of every label.
        name, licence: of the data set, for the provenance of what is trained on it.
        known: "fashion-mnist" or "cifar-10" if the contents are known to be that, else "".
        passed_over: what lies beside the images and is none of them.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    licence: str = "unknown"
    known: str = ""
    passed_over: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | slice | Tensor) -> Tensor:
        """Images, as `ImageFiles` gives them: `data[a:b]` is uint8 (b - a, channels, height, width)."""
        return self.images[index]

    def digest(self) -> str:
        """sha256 of pixels and labels, in order."""
        sha = hashlib.sha256(str(tuple(self.images.shape)).encode())
        sha.update(self.images.contiguous().numpy().tobytes())
        sha.update(self.labels.numpy().tobytes())
        return sha.hexdigest()

    def choose(self, per_class: int, seed: int = 0) -> LabelledImages:
        """The same number of images of each class, drawn without replacement, ordered by class.

        Raises:
            ValueError: a class has fewer.
        """
        rng = torch.Generator().manual_seed(checked(seed))
        chosen = []
        for label, name in enumerate(self.classes):
            members = (self.labels == label).nonzero().flatten()
            _enough(name, len(members), per_class)
            chosen.append(members[torch.randperm(len(members), generator=rng, device="cpu")[:per_class]].sort().values)
        index = torch.cat(chosen)
        return replace(self, images=self.images[index], labels=self.labels[index])


@dataclass(frozen=True)
class ImageFiles:
    """Images of a folder of classes, read when they are asked for: `files[a:b]` is a uint8 tensor (b - a, 3, s, s).

    Attributes:
        paths: one file an image.
        labels: (n,) int64.
        classes: folder names, sorted.
        read: from a path to a tensor.
        passed_over: what lies among the images and is none, by its path in the folder.
        known: "", see `LabelledImages`.
    """

    paths: tuple[Path, ...]
    labels: Tensor
    classes: tuple[str, ...]
    read: Callable[[Path], Tensor]
    passed_over: tuple[str, ...] = ()
    known: str = ""

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int | slice) -> Tensor:
        if isinstance(index, slice):
            return torch.stack([self.read(path) for path in self.paths[index]])
        return self.read(self.paths[index])

    def digest(self, report: Callable[[int], None] | None = None) -> str:
        """sha256 of pixels and labels, in order, that of the same `LabelledImages`; reads every file to its end.

        Args:
            report: called with the number of images that have been read, after each.

        Raises:
            ValueError: some files are no images, damaged, too small, …; all of them are named.
        """
        bad: list[tuple[Path, ValueError]] = []
        sha = None
        for done, path in enumerate(self.paths, 1):
            try:
                image = self.read(path)
                sha = sha or hashlib.sha256(str((len(self), *image.shape)).encode())
                sha.update(image.numpy().tobytes())
            except ValueError as error:
                bad.append((path, error))
            if report is not None:
                report(done)
        if bad or sha is None:
            others = [path.name for path, _ in bad[1:]]
            more = f"; {len(others)} more are no better: {_few(others)}" if others else ""
            raise ValueError(f"{bad[0][1] if bad else 'expected at least one image, got none'}{more}")
        sha.update(self.labels.numpy().tobytes())
        return sha.hexdigest()


def image_folder(
    folder: Path, *, per_class: int, size: int, seed: int = 0, resize: bool = True, convert: bool = False
) -> ImageFiles:
    """Images in the layout of the ImageNet validation set: one folder a class, the same number of each.

    Which ones is drawn by the hash of the seed and of the file's name: the choice depends neither on the order in
    which the file system lists them nor on other classes, and for more per class it only grows.

    Args:
        folder: holds one folder of image files for each class.
        per_class: images a class.
        size: pixels a side.
        seed: of the choice.
        resize: shrink and crop the middle, as the diffusion model's training did; False: the files must have the size.
        convert: turn grey, palette and CMYK files into RGB (ImageNet has some); False: they are an error.

    Returns:
        `ImageFiles`, ordered by class and within a class by file name.

    Raises:
        ValueError: the folder is missing or laid out otherwise, or a class has too few files.
    """
    folder = Path(folder)
    if per_class < 1:
        raise ValueError(f"per_class: expected at least 1, got {per_class}")
    classes, files, passed_over = _class_folders(folder)
    paths, labels = [], []
    for label, name in enumerate(classes):
        _enough(f"{folder / name}", len(files[label]), per_class)
        rank = {path: hashlib.sha256(os.fsencode(f"{seed}/{name}/{path.name}")).digest() for path in files[label]}
        paths += sorted(sorted(files[label], key=rank.__getitem__)[:per_class])
        labels += [label] * per_class

    def read(path: Path) -> Tensor:
        return read_image(path, size, resize=resize, convert=convert)

    return ImageFiles(tuple(paths), torch.tensor(labels, device="cpu"), classes, read, passed_over)


def idx_images(split: str = "test", *, folder: Path | None = None, download: bool = False) -> LabelledImages:
    """Grey images and labels in the two files of MNIST's format; Fashion-MNIST (Xiao et al. 2017) if they are that.

    Args:
        split: "train" or "test", whose files start with train and t10k.
        folder: of the files, packed or not; by default Debian's package dataset-fashion-mnist, if it is installed, and
            otherwise `download` decides.
        download: let torchvision download Fashion-MNIST into `folder` (or ./data).

    Returns:
        Fashion-MNIST with its name, classes and licence where the digest of images and labels is known to be its; any
        other images with classes that are numbered.

    Raises:
        ValueError: the files are missing or damaged, or do not belong together.
    """
    _split(split)
    if download:
        from torchvision.datasets import FashionMNIST

        raw = FashionMNIST(str(folder or "data"), train=split == "train", download=True)
        images, labels, folder = raw.data, raw.targets, Path(folder or "data")
    else:
        folder = Path(folder or DEBIAN)
        stem = "train" if split == "train" else "t10k"
        help = "Debian's package dataset-fashion-mnist has the files, or pass download=True (--download)"
        images = read_idx(folder / f"{stem}-images-idx3-ubyte", (None, None, None), help)
        labels = read_idx(folder / f"{stem}-labels-idx1-ubyte", (len(images),), help)
    if not images.numel():
        raise ValueError(f"{folder}: expected at least one image, got {' × '.join(map(str, images.shape))}")
    classes = tuple(f"class {k}" for k in range(int(labels.max()) + 1))
    found = _unnamed(LabelledImages(images[:, None], labels.long(), classes, ""))
    name = KNOWN.get(found.digest())
    return found if name is None else replace(found, classes=FASHION, name=name, licence=ZALANDO, known="fashion-mnist")


def labelled_images(folder: Path, *, size: int) -> LabelledImages:
    """All images of a folder of classes, of one size, in memory.

    Raises:
        ValueError: the folder is missing or laid out otherwise, or a file is no image of that size.
    """
    folder = Path(folder)
    classes, files, passed_over = _class_folders(folder)
    paths = [path for some in files for path in sorted(some)]
    if not paths:
        raise ValueError(f"{folder}: expected one folder of images for each class, got no images")
    labels = torch.tensor([label for label, some in enumerate(files) for _ in some], device="cpu")
    images = torch.stack([read_image(path, size, resize=False) for path in paths])
    return _unnamed(LabelledImages(images, labels, classes, "", passed_over=passed_over))


def cifar10(split: str = "test", *, folder: Path, download: bool = False) -> LabelledImages:
    """CIFAR-10 (Krizhevsky 2009), 50 000 + 10 000 colour images of 32 × 32, or others of that size.

    Args:
        split: "train" or "test".
        folder: holds train/CLASS/ and test/CLASS/ with image files, which are not known to be CIFAR-10 since they may
            be any; or the original, unpacked, in cifar-10-batches-py, each of whose files has to have the right md5.
        download: let torchvision download the original into `folder`.

    Raises:
        ValueError: neither is there, or a file is damaged.
    """
    _split(split)
    folder = Path(folder)
    if (folder / split).is_dir():
        return labelled_images(folder / split, size=32)
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    unpacked = CIFAR10.base_folder
    if folder.name == unpacked and folder.is_dir():
        folder = folder.parent
    if not download:
        help = f"pass download=True (--download), or unpack the original so that {unpacked} is in the folder"
        if not (folder / unpacked).is_dir():
            there = " and ".join(sorted(path.name for path in folder.glob("cifar*"))) if folder.is_dir() else ""
            raise ValueError(
                f"{folder}: expected {split}/CLASS/ with image files or {unpacked}, got {there or 'neither'}; {help}"
            )
        files = [*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])]
        for name, md5 in files:
            if not check_integrity(folder / unpacked / name, md5):
                got = "another or a damaged file" if (folder / unpacked / name).exists() else "nothing there"
                raise ValueError(f"{folder / unpacked / name}: expected the file with md5 {md5}, got {got}; {help}")
    raw = CIFAR10(str(folder), train=split == "train", download=download)
    return replace(from_torchvision(raw, f"CIFAR-10, {split}", KRIZHEVSKY), known="cifar-10")


def from_torchvision(
    dataset: Iterable[tuple[Image, int]], name: str | None = None, licence: str = "unknown"
) -> LabelledImages:
    """Any torchvision data set of (PIL image, label) whose images all have one size and mode.

    Raises:
        ValueError: they have not.
    """
    from torchvision.transforms.functional import pil_to_tensor

    images, labels = [], []
    for i, (image, label) in enumerate(dataset):
        images.append(pil_to_tensor(image))
        labels.append(int(label))
        if images[-1].shape != images[0].shape or images[-1].dtype != torch.uint8:
            raise ValueError(
                f"image {i} of the data set: expected 8 bits and shape {tuple(images[0].shape)} as the first one, got "
                f"{images[-1].dtype} {tuple(images[-1].shape)}; give the data set a transform that resizes PIL images"
            )
    if not images:
        raise ValueError("the data set: expected at least one image, got none")
    classes = tuple(map(str, getattr(dataset, "classes", range(max(labels) + 1))))
    if not 0 <= min(labels) <= max(labels) < len(classes):
        raise ValueError(
            f"the data set: expected labels 0…{len(classes) - 1} of its classes, got {min(labels)}…{max(labels)}"
        )
    return LabelledImages(
        torch.stack(images), torch.tensor(labels, device="cpu"), classes, name or type(dataset).__name__, licence
    )


def _class_folders(folder: Path) -> tuple[tuple[str, ...], list[list[Path]], tuple[str, ...]]:
    """Names of the classes of a folder, the image files of each, and what else there is, by its path in the folder."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder with one folder of images for each class, got {_what(folder)}")
    try:
        entries = sorted(folder.iterdir())
        folders = [entry for entry in entries if entry.is_dir() and not _left(entry)]
        inside = [sorted(entry.iterdir()) for entry in folders]
    except OSError as error:
        raise ValueError(f"{folder}: expected a folder that can be read, got {error}; check who may read it") from error
    if not folders:
        flat = sum(_is_image(entry) for entry in entries)
        raise ValueError(
            f"{folder}: expected one folder for each class, got {flat} image files side by side; sort them into "
            "folders first (for ImageNet: by the validation labels)"
        )
    files = [[path for path in some if _is_image(path)] for some in inside]
    for entry, some, all_ in zip(folders, files, inside):
        if not some:
            deeper = sum(path.is_dir() for path in all_)
            raise ValueError(
                f"{entry}: expected image files of a class, got none{f' and {deeper} folders' if deeper else ''}; put "
                "them right into it, or move it away if it is no class"
            )
    others = [path for path in chain(entries, *inside) if path not in {*folders} and not _is_image(path)]
    others += [entry for entry in entries if _is_image(entry)]
    return tuple(entry.name for entry in folders), files, tuple(str(path.relative_to(folder)) for path in others)


def _left(path: Path) -> bool:
    """Whether an editor or an operating system has put it there, for itself."""
    return path.name.startswith(".") or path.name.lower() in LEFT


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not _left(path) and not path.is_dir()


def said(images: LabelledImages | ImageFiles) -> str:
    """A sentence on what was passed over, or "" if that is nothing."""
    rest = images.passed_over
    return f"passed over, as it is no image of a class: {_few(rest)}" if rest else ""


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _unnamed(images: LabelledImages) -> LabelledImages:
    """Images whose data set nobody knows are called by their digest."""
    return replace(images, name=f"unnamed images {images.digest()[:12]}")


def _split(split: str) -> None:
    if split not in ("train", "test"):
        raise ValueError(f'split: expected "train" or "test", got {split!r}')


def _enough(name: str, got: int, wanted: int) -> None:
    if got < wanted:
        raise ValueError(f"{name}: expected at least {wanted} images of this class, got {got}; ask for fewer a class")


def _what(path: Path) -> str:
    return "a file" if path.exists() else "nothing there"
