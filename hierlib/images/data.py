"""Image data sets as uint8 tensors with labels: Fashion-MNIST, CIFAR-10, a folder of classes, torchvision's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import hierlib._torchvision  # noqa: F401
from hierlib.images.files import read_idx, read_image

DEBIAN = Path("/usr/share/datasets/fashion-mnist")  #: where Debian's package dataset-fashion-mnist puts the files
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm")


@dataclass(frozen=True)
class LabelledImages:
    """A data set in memory.

    Attributes:
        images: (n, channels, height, width) uint8.
        labels: (n,) int64.
        classes: name of every label.
        name, licence: of the data set, for the provenance of what is trained on it.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    licence: str = "unknown"

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index) -> Tensor:
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
        rng = torch.Generator().manual_seed(seed)
        chosen = []
        for label, name in enumerate(self.classes):
            members = (self.labels == label).nonzero().flatten()
            _enough(name, len(members), per_class)
            chosen.append(members[torch.randperm(len(members), generator=rng, device="cpu")[:per_class]].sort().values)
        index = torch.cat(chosen)
        return LabelledImages(self.images[index], self.labels[index], self.classes, self.name, self.licence)


@dataclass(frozen=True)
class ImageFiles(Sequence):
    """Images of a folder of classes, read when they are asked for: `files[a:b]` is a uint8 tensor (b - a, 3, s, s).

    Attributes:
        paths: one file an image.
        labels: (n,) int64.
        classes: folder names, sorted.
        read: from a path to a tensor.
    """

    paths: tuple[Path, ...]
    labels: Tensor
    classes: tuple[str, ...]
    read: Callable[[Path], Tensor]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return torch.stack([self.read(path) for path in self.paths[index]])
        return self.read(self.paths[index])


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
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder with one folder of images for each class, got {_what(folder)}")
    if per_class < 1:
        raise ValueError(f"per_class: expected at least 1, got {per_class}")
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    if not classes:
        flat = sum(entry.suffix.lower() in SUFFIXES for entry in folder.iterdir())
        raise ValueError(
            f"{folder}: expected one folder for each class, got {flat} image files side by side; sort them into "
            "folders first (for ImageNet: by the validation labels)"
        )
    paths, labels = [], []
    for label, name in enumerate(classes):
        files = [path for path in (folder / name).iterdir() if path.suffix.lower() in SUFFIXES]
        _enough(f"{folder / name}", len(files), per_class)
        files.sort(key=lambda path: hashlib.sha256(f"{seed}/{name}/{path.name}".encode()).digest())
        paths += sorted(files[:per_class])
        labels += [label] * per_class

    def read(path: Path) -> Tensor:
        return read_image(path, size, resize=resize, convert=convert)

    return ImageFiles(tuple(paths), torch.tensor(labels, device="cpu"), classes, read)


def fashion_mnist(split: str = "test", *, folder: Path | None = None, download: bool = False) -> LabelledImages:
    """Fashion-MNIST (Xiao et al. 2017), 60 000 + 10 000 grey images of 28 × 28.

    Args:
        split: "train" or "test".
        folder: of the four idx files, packed or not; by default Debian's package dataset-fashion-mnist, if it is
            installed, and otherwise `download` decides.
        download: let torchvision download the files into `folder` (or ./data).

    Raises:
        ValueError: the files are missing or damaged.
    """
    _split(split)
    if download:
        from torchvision.datasets import FashionMNIST

        raw = FashionMNIST(str(folder or "data"), train=split == "train", download=True)
        images, labels = raw.data, raw.targets
    else:
        folder = Path(folder or DEBIAN)
        stem = "train" if split == "train" else "t10k"
        help = "Debian's package dataset-fashion-mnist has the files, or pass download=True (--download)"
        images = read_idx(folder / f"{stem}-images-idx3-ubyte", (None, 28, 28), help)
        labels = read_idx(folder / f"{stem}-labels-idx1-ubyte", (len(images),), help)
    return LabelledImages(images[:, None], labels.long(), FASHION, f"Fashion-MNIST, {split}", "MIT (Zalando SE)")


def cifar10(split: str = "test", *, folder: Path, download: bool = False) -> LabelledImages:
    """CIFAR-10 (Krizhevsky 2009), 50 000 + 10 000 colour images of 32 × 32.

    Args:
        split: "train" or "test".
        folder: holds train/CLASS/ and test/CLASS/ with image files, or torchvision's copy of the original.
        download: let torchvision download the original into `folder`.

    Raises:
        ValueError: neither is there, or a file is damaged.
    """
    _split(split)
    folder = Path(folder)
    if (folder / split).is_dir():
        return _all_files(folder / split, 32, f"CIFAR-10, {split}", "free use (Krizhevsky 2009)")
    from torchvision.datasets import CIFAR10

    try:
        raw = CIFAR10(str(folder), train=split == "train", download=download)
    except RuntimeError as error:
        raise ValueError(
            f"{folder}: expected {split}/CLASS/ with image files or torchvision's copy of CIFAR-10, got neither; "
            "pass download=True (--download)"
        ) from error
    return from_torchvision(raw, f"CIFAR-10, {split}", "free use (Krizhevsky 2009)")


def from_torchvision(dataset, name: str | None = None, licence: str = "unknown") -> LabelledImages:
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
    return LabelledImages(
        torch.stack(images), torch.tensor(labels, device="cpu"), classes, name or type(dataset).__name__, licence
    )


def _all_files(folder: Path, size: int, name: str, licence: str) -> LabelledImages:
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    paths = [(path, k) for k, c in enumerate(classes) for path in sorted((folder / c).iterdir())]
    if not paths:
        raise ValueError(f"{folder}: expected one folder of images for each class, got no images")
    images = torch.stack([read_image(path, size, resize=False) for path, _ in paths])
    return LabelledImages(images, torch.tensor([k for _, k in paths], device="cpu"), classes, name, licence)


def _split(split: str) -> None:
    if split not in ("train", "test"):
        raise ValueError(f'split: expected "train" or "test", got {split!r}')


def _enough(name: str, got: int, wanted: int) -> None:
    if got < wanted:
        raise ValueError(f"{name}: expected at least {wanted} images of this class, got {got}; ask for fewer a class")


def _what(path: Path) -> str:
    return "a file" if path.exists() else "nothing there"
