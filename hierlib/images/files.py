"""Reading one file: an image, or the idx format of MNIST; what is wrong with it is said in full."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from torch import Tensor

from hierlib._files import write_bytes

MAX_BYTES = 1 << 31  #: of an idx file, which is read whole
MIN_SIDE = 32  #: pixels; a smaller file is no photograph
MAX_GROWTH = 4  #: how many times a small file is enlarged at most; ImageNet has some
BITS = 258  #: a TIFF's entry for the bits of each channel
CONVERTIBLE = ("L", "P", "CMYK", "1")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")  #: others are not tried: some of them start programs


def read_image(path: Path, size: int, *, resize: bool = True, convert: bool = False) -> Tensor:
    """One image file as a uint8 tensor (3, size, size).

    Args:
        path: the file.
        size: pixels a side.
        resize: shrink and crop the middle as in the training of ADM (`centre_crop`); False: it must have the size.
        convert: turn grey, palette and CMYK files into RGB; False: they are an error. Transparency, more than 8 bits a
            channel and more than one image in the file always are.

    Raises:
        ValueError: the file is missing, no image, damaged, not plain RGB, several images, of the wrong size or too
            small: below 32 pixels or a quarter of `size`.
    """
    path = Path(path)
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing there"
        raise ValueError(f"{path}: expected an image file, got {got}; check the path")
    if not path.stat().st_size:
        raise ValueError(f"{path}: expected an image file, got an empty one; copy it again")
    try:
        with Image.open(path, formats=FORMATS) as file:
            pictures, deep = _pictures(file), _deep(file)
            file.load()
            image: Image.Image = file
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: expected a JPEG or PNG image, got another kind of file; remove it") from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path}: expected a photograph, got a file of too many pixels ({error}); shrink it"
        ) from error
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # what the decoders raise on damaged files is not documented
        raise ValueError(f"{path}: expected a whole image, got a damaged file ({error}); copy it again") from error
    if pictures > 1:
        raise ValueError(f"{path}: expected one image, got {pictures} in one file; keep the one that is meant")
    image = _rgb(path, image, convert, deep)
    if not resize and image.size != (size, size):
        raise ValueError(
            f"{path}: expected {size} × {size} pixels, got {image.size[0]} × {image.size[1]}; pass resize=True"
        )
    if resize and min(image.size) < (least := max(MIN_SIDE, -(-size // MAX_GROWTH))):
        raise ValueError(
            f"{path}: expected at least {least} pixels a side for images of {size}, got {image.size[0]} × "
            f"{image.size[1]}; remove it"
        )
    pixels = np.asarray(centre_crop(image, size) if resize else image)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """The middle square of an image, shrunk to `size`: by halves while it is large, then bicubic, as ADM's data were.

    Source: guided_diffusion/image_datasets.py, `center_crop_arr`.
    """
    while min(image.size) >= 2 * size:
        image = image.resize((image.size[0] // 2, image.size[1] // 2), resample=Image.Resampling.BOX)
    scale = size / min(image.size)
    image = image.resize(
        (round(image.size[0] * scale), round(image.size[1] * scale)), resample=Image.Resampling.BICUBIC
    )
    left, top = (image.size[0] - size) // 2, (image.size[1] - size) // 2
    return image.crop((left, top, left + size, top + size))


def as_jpeg(images: Tensor, quality: int = 75) -> Tensor:
    """Colour images after a round through JPEG, which the authors' code puts the samples through, but not the starts.

    Args:
        images: uint8 (n, 3, height, width). quality: of the compression; 75 is what torchvision's save_image takes.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images: expected uint8 (n, 3, height, width), got {images.dtype} {tuple(images.shape)}")
    out = []
    for image in images:
        packed = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).cpu().numpy()).save(packed, "JPEG", quality=quality)
        out.append(torch.from_numpy(np.asarray(Image.open(packed)).copy()).permute(2, 0, 1))
    return torch.stack(out)


def idx_there(path: Path) -> list[Path]:
    """The files that `read_idx` finds under this path, packed or not, with a hyphen or a dot before idx."""
    first, _, last = path.name.rpartition("-idx")
    names = [path.name, f"{first}.idx{last}"] if first else [path.name]
    return [file for name in names for end in (".gz", "") if (file := path.with_name(name + end)).is_file()]


def read_idx(path: Path, shape: tuple[int | None, ...], help: str = "copy it again") -> Tensor:
    """A file of unsigned bytes in the idx format of MNIST.

    Args:
        path: the file, as in t10k-images-idx3-ubyte. It is found as well with a dot for its last hyphen but one, as
            many archives unpack it, and packed, with .gz; whether it is packed, its contents say.
        shape: what is expected; None is any length.
        help: what to do if the file is missing.

    Returns:
        uint8 tensor of that shape.

    Raises:
        ValueError: the file is missing, damaged, of another kind or of another shape; there are several that differ.
    """
    there = idx_there(path)
    if not there:
        raise ValueError(f"{path}: expected a file, packed (.gz) or not, got nothing there; {help}")
    contents = {file: _unpacked(file) for file in there}
    if len({*contents.values()}) > 1:
        got = " and ".join(file.name for file in there)
        raise ValueError(f"{path.parent}: expected one content of {path.name}, got {got}, which differ; remove one")
    path, content = there[0], contents[there[0]]
    if content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise ValueError(f"{path}: expected an idx file of bytes, got one that starts with {content[:4].hex()}; {help}")
    size = struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    if len(size) != len(shape) or any(a is not None and a != b for a, b in zip(shape, size)):
        wanted = " × ".join("n" if a is None else str(a) for a in shape)
        raise ValueError(f"{path}: expected {wanted} bytes, got {' × '.join(map(str, size))}; {help}")
    body = content[4 + 4 * content[3] :]
    if len(body) != math.prod(size):
        raise ValueError(f"{path}: expected {math.prod(size)} bytes of data, got {len(body)}; copy it again")
    none = torch.empty(0, dtype=torch.uint8, device="cpu")
    return (torch.frombuffer(bytearray(body), dtype=torch.uint8) if body else none).reshape(size)


def _unpacked(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b" or (path.suffix == ".gz" and content[:3] != b"\0\0\x08"):
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
                content = packed.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"{path}: expected at most {MAX_BYTES:,} bytes, got more; is it another file?")
        return content
    except (OSError, EOFError, zlib.error) as error:  # of which BadGzipFile is one
        kind = "gzip file" if path.suffix == ".gz" else "file"
        raise ValueError(f"{path}: expected a whole {kind}, got a damaged one ({error}); copy it again") from error


def write_idx(path: Path, x: Tensor) -> None:
    """Write a uint8 tensor as path.gz in the format that `read_idx` reads; the same tensor gives the same bytes."""
    head = b"\0\0\x08" + bytes([x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape)
    content = gzip.compress(head + x.contiguous().numpy().tobytes(), mtime=0)
    write_bytes(path.with_name(path.name + ".gz"), content)


def _pictures(file: ImageFile) -> int:
    """Frames or pages; what cameras keep beside a JPEG, as a preview, is no picture of its own."""
    return 1 if file.format in ("JPEG", "MPO") else getattr(file, "n_frames", 1)


def _deep(file: ImageFile) -> bool:
    """Whether the file, not yet loaded, has more than 8 bits a channel, of which Pillow would keep the upper ones."""
    for tile in file.tile:
        args = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        if ";16" in str(args[0]) or (file.format == "PPM" and isinstance(args[-1], int) and args[-1] > 255):
            return True
    return max(getattr(file, "tag_v2", {}).get(BITS, (8,))) > 8  # planes of a TIFF, which are read one by one


def _rgb(path: Path, image: Image.Image, convert: bool, deep: bool) -> Image.Image:
    clear = "transparency" in image.info
    if image.mode == "RGB" and not clear and not deep:
        return image
    plain = image.mode in CONVERTIBLE and not clear and not deep
    if convert and plain:
        return image.convert("RGB")
    what = " with a transparent colour" * clear + " of 16 bits a channel" * deep
    advice = "pass convert=True" if plain else "flatten it to 8-bit RGB first"
    raise ValueError(f"{path}: expected an RGB image, got mode {image.mode}{what}; {advice}")
