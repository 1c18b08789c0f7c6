"""The set-up of a chapter: house style, one thread, no key used yet, a seeded generator on a device."""

import torch

from hierlib._devices import chosen
from hierlib._seeds import checked
from hierlib.book.page import glue, style
from hierlib.book.page.stamp import run_folder


def setup(seed: int, profile: str = "quick", device: str = "cpu") -> torch.Generator:
    """Sets the house style and one thread for this chapter, and returns its seeded generator.

    Args:
        profile: of a chapter whose parameters have values for ``full:``. The runner puts these in place.
        device: where the generator is, and all that is drawn from it: "auto", "cpu" or "cuda".

    Raises:
        ValueError: the seed is none, from 0 to 2**32 - 1; or "full" where no runner has done so, as in a notebook that
            is run cell by cell. Or the device is not here.
    """
    if profile == "full" and run_folder() is None:
        raise ValueError(
            'profile: "full" is for `make run CH=… P="profile=full"`, which puts in place what stands after `full:` '
            "in the cell of the parameters; got it outside a run. Write these values into the cell, and leave profile"
        )
    on = chosen(device)
    style.use()
    torch.set_num_threads(1)  # chapters run side by side, one process each
    glue.reset()
    return torch.Generator(on).manual_seed(checked(seed))
