"""Make torchvision importable beside a torch that its compiled operators were not built for.

diffusers imports torchvision, and torchvision has no CPU-only wheels: beside a CPU build of torch its operators do
not load, and its Python side then fails to register their shape functions. Import this module first. It declares the
two operators' schemas where, and only where, the compiled ones cannot load; on matching builds it does nothing.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_library: torch.library.Library | None = None  # kept alive: a collected Library takes its schemas with it


def _declare_missing_operators() -> None:
    global _library
    spec = importlib.util.find_spec("torchvision")
    if spec is None or _library is not None:
        return
    compiled = sorted(path for folder in spec.submodule_search_locations or () for path in Path(folder).glob("_C*.so"))
    try:
        for path in compiled:
            torch.ops.load_library(str(path))
        missing = not compiled
    except (OSError, RuntimeError):
        missing = True
    if missing and not hasattr(torch.ops.torchvision, "nms"):
        _library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_declare_missing_operators()
