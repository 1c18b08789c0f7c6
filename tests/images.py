"""Small pictures, folders of them, files in MNIST's format, and little models, for the tests of hierlib.images."""

import torch
from PIL import Image

from hierlib.images import classifier, files, models, schedule
from hierlib.images.unet import small_config, unet

STEPS = dict(schedule.LINEAR, prediction_type="v_prediction", variance_type="fixed_small", timestep_spacing="linspace")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(size=(40, 48), mode="RGB", seed=0):
    """A PIL image of noise."""
    w, h = size
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = torch.randint(256, (h * w * channels,), generator=rng(seed), dtype=torch.uint8)
    return Image.frombytes(mode, size, pixels.numpy().tobytes())


def folder_of_classes(root, classes=("cat", "dog"), n=4, suffix="png", **options):
    for k, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(n):
            picture(seed=10 * k + i, **options).save(root / name / f"{i}.{suffix}")
    return root


def idx(folder, images, labels, stem="t10k"):
    """Images and labels in the two files of MNIST's format."""
    files.write_idx(folder / f"{stem}-images-idx3-ubyte", images)
    files.write_idx(folder / f"{stem}-labels-idx1-ubyte", labels.to(torch.uint8))
    return folder


def denoiser(path, channels=3, size=32, seed=0, **change):
    """An untrained denoiser of small images."""
    config = small_config(channels, size, (8, 16))
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = unet(config)
    about = dict(kind="diffusion model", name="little", network=config, scheduler=STEPS, channels=channels, size=size)
    models.save(path, network.state_dict(), about | dict(fold=2) | change)
    return path


def cnn(path, channels=3, classes=4, seed=0):
    """An untrained classifier of small images."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = classifier.ImageCNN(channels, classes, width=4, depth=1)
    models.save(path, network.state_dict(), dict(kind="classifier", network=network.config))
    return path
