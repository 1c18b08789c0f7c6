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
from torch import Tensor

MIN_SIDE = 32  #: pixels; a smaller file is no photograph and would be blown up
CONVERTIBLE = ("L", "P", "CMYK", "1")


def read_image(path: Path, size: int, *, resize: bool = True, convert: bool = False) -> Tensor:
    """One image file as a uint8 tensor (3, size, size).

    Args:
        path: the file.
        size: pixels a side.
        resize: shrink and crop the middle as in the training of ADM (`centre_crop`); False: it must have the size.
        convert: turn grey, palette and CMYK files into RGB; False: they are an error. Transparency always is.

    Raises:
        ValueError: the file is missing, no image, damaged, not RGB, too small or of the wrong size.
    """
    path = Path(path)
    if not path.is_file():
        got = "a folder" if path.is_dir() else "nothing there"
        raise ValueError(f"{path}: expected an image file, got {got}; check the path")
    if not path.stat().st_size:
        raise ValueError(f"{path}: expected an image file, got an empty one; copy it again")
    try:
        with Image.open(path) as image:
            image.load()
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: expected a JPEG or PNG image, got another kind of file; remove it") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise ValueError(f"{path}: expected a whole image, got a damaged file ({error}); copy it again") from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path}: expected a photograph, got a file of too many pixels ({error}); shrink it"
        ) from error
    image = _rgb(path, image, convert)
    if not resize and image.size != (size, size):
        raise ValueError(
            f"{path}: expected {size} × {size} pixels, got {image.size[0]} × {image.size[1]}; pass resize=True"
        )
    if resize and min(image.size) < MIN_SIDE:
        raise ValueError(
            f"{path}: expected at least {MIN_SIDE} pixels a side, got {image.size[0]} × {image.size[1]}; remove it"
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


def read_idx(path: Path, shape: tuple[int | None, ...], help: str = "copy it again") -> Tensor:
    """A file of unsigned bytes in the idx format of MNIST, packed (.gz) or not.

    Args:
        path: the file, without .gz.
        shape: what is expected; None is any length.
        help: what to do if the file is missing.

    Returns:
        uint8 tensor of that shape.

    Raises:
        ValueError: the file is missing, damaged, of another kind or of another shape.
    """
    packed = path.with_name(path.name + ".gz")
    try:
        if packed.is_file():
            content = gzip.decompress(packed.read_bytes())
        elif path.is_file():
            content = path.read_bytes()
        else:
            raise ValueError(f"{packed}: expected a file, got nothing there; {help}")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{packed}: expected a whole gzip file, got a damaged one ({error}); copy it again") from error
    if content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise ValueError(f"{path}: expected an idx file of bytes, got one that starts with {content[:4].hex()}; {help}")
    got = struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    if len(got) != len(shape) or any(a is not None and a != b for a, b in zip(shape, got)):
        wanted = " × ".join("n" if a is None else str(a) for a in shape)
        raise ValueError(f"{path}: expected {wanted} bytes, got {' × '.join(map(str, got))}; {help}")
    body = content[4 + 4 * content[3] :]
    if len(body) != math.prod(got):
        raise ValueError(f"{path}: expected {math.prod(got)} bytes of data, got {len(body)}; copy it again")
    return torch.frombuffer(bytearray(body), dtype=torch.uint8).reshape(got)


def write_idx(path: Path, x: Tensor) -> None:
    """Write a uint8 tensor as path.gz in the format that `read_idx` reads; the same tensor gives the same bytes."""
    head = b"\0\0\x08" + bytes([x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = gzip.compress(head + x.contiguous().numpy().tobytes(), mtime=0)
    path.with_name(path.name + ".gz").write_bytes(content)


def _rgb(path: Path, image: Image.Image, convert: bool) -> Image.Image:
    if image.mode == "RGB":
        return image
    plain = image.mode in CONVERTIBLE and "transparency" not in image.info
    if convert and plain:
        return image.convert("RGB")
    advice = "pass convert=True" if plain else "flatten it to 8-bit RGB first"
    raise ValueError(f"{path}: expected an RGB image, got mode {image.mode}; {advice}")
