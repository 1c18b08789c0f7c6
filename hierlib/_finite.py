"""Numbers that are not finite end a computation where they arise, before they are pictures, layers or verdicts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

PATIENCE = 20  # steps after which a GPU is asked; at each of them, it would wait for the processor


def finite(x: Tensor, name: str, advice: str) -> Tensor:
    """A tensor as it is, if all its numbers are finite.

    Args:
        x: any shape and type.
        name: of what it holds, for the error.
        advice: what to do if they are not.

    Raises:
        ValueError: some are not.
    """
    good = x.detach().isfinite()
    if not good.all():
        bad = x.detach()[~good]
        first = float(bad[0].real)
        raise ValueError(
            f"{name}: expected finite numbers, got {first} ({bad.numel():,} of {x.numel():,} are not finite, in "
            f"{precision(x.dtype)}); {advice}"
        )
    return x


def all_finite(named: Mapping[str, Tensor], advice: str) -> None:
    """The same for many tensors by their names, with one question to the device.

    Raises:
        ValueError: one of them is not finite, the first of which is named.
    """
    good = [x.detach().isfinite().all() for x in named.values()]
    if good and not torch.stack(good).all():
        for name, x in named.items():
            finite(x, name, advice)


def float32(x: Tensor, name: str) -> Tensor:
    """A weight of a file in single precision.

    Args:
        x: any shape; floats of 16 bits or more.
        name: of what it holds, for the error.

    Raises:
        ValueError: it has other numbers, which torch would cast: integers without their scale, complex ones in part.
    """
    if not x.is_floating_point() or x.dtype.itemsize < 2:
        raise ValueError(f"{name}: expected floats of 16 bits or more, got {precision(x.dtype)}; save it anew")
    return x.float()


class Watch:
    """Looks at the state of a loop after each step: on the CPU at once, on a GPU at many steps together.

    Args:
        name: of the loop, for the error.
        advice: what to do if a state is not finite.
        dtype: in which the state is computed, where that is not its own type.
        patience: steps that a GPU looks at together; 1 in a loop that waits for each of them anyway.
    """

    def __init__(self, name: str, advice: str, dtype: torch.dtype | None = None, *, patience: int = PATIENCE):
        self.name, self.advice, self.dtype, self.patience = name, advice, dtype, patience
        self._seen: list[tuple[int | str, Tensor]] = []

    def __call__(self, step: int | str, *state: Tensor) -> None:
        """Look at what a step has made.

        Raises:
            ValueError: some of it, or of an earlier step, is not finite.
        """
        good = [x.detach().isfinite().all() for x in state]
        self._seen.append((step, good[0] if len(good) == 1 else torch.stack(good).all()))
        self.dtype = self.dtype or state[0].dtype
        if state[0].device.type == "cpu" or len(self._seen) >= self.patience:
            self.close()

    def close(self) -> None:
        """Look at what is not looked at yet; to be called after the last step.

        Raises:
            ValueError: as above.
        """
        if not self._seen:
            return
        seen, self._seen = self._seen, []
        good = torch.stack([each for _, each in seen]).tolist()  # one transfer
        if not all(good):
            step = seen[good.index(False)][0]
            raise ValueError(
                f"{self.name}, step {step}: expected finite numbers, got nan or infinity, in "
                f"{precision(self.dtype)}; {self.advice}"
            )


def precision(dtype: torch.dtype | None) -> str:
    """Name of a floating type, as people write it: float16."""
    return str(dtype).removeprefix("torch.")
