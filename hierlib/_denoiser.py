"""What a denoiser is, exact or learnt, and a look at what it says."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Denoiser = Callable[[Tensor], Tensor]  # evidence (n, d, v) -> leaf marginals (n, d, v)


def said_by(denoise: Denoiser, evidence: Tensor) -> Tensor:
    """The marginals that a denoiser makes of evidence, both (n, d, v).

    Raises:
        ValueError: it returns another shape, which would be broadcast, or no tensor.
    """
    said = denoise(evidence)
    if not isinstance(said, Tensor) or said.shape != evidence.shape:
        got = tuple(said.shape) if isinstance(said, Tensor) else type(said)
        raise ValueError(f"denoise: expected marginals of shape {tuple(evidence.shape)}, as the evidence, got {got}")
    return said
