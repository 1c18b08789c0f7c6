"""The book: what its chapters use, and the machinery that runs them and builds the site.

from hierlib import book

rng = book.setup(seed, profile, device)       # house style, one thread, a seeded generator there
book.show("fig-name", drawing)                # a figure for the page
book.numbers({"name": value})                 # numbers and words for its sentences
book.record("claim-id", value, interval)      # the answer to a row of book/claims.yaml
book.save("name", dataset)                    # the numbers behind a figure
book.stamp()                                  # what made this page
"""

import importlib
from typing import Any

# Where each public name lives. Fetched when first used, so that the command line starts at once and a
# chapter depends on the modules that it uses only (hierlib.book.runs.key reads this table).
_HOME = {
    "CHANCE": "page.style",
    "CHANGED": "page.style",
    "ERASED": "page.style",
    "INK": "page.style",
    "data": "page.style",
    "label_lines": "page.style",
    "level_bar": "page.style",
    "log_axis": "page.style",
    "noise_ruler": "page.style",
    "palette": "page.style",
    "setup": "page.setup",
    "path": "page.files",
    "theory": "page.style",
    "widths": "page.style",
    "equations": "page.glue",
    "math": "page.glue",
    "number": "page.glue",
    "numbers": "page.glue",
    "show": "page.glue",
    "Drawing": "page.glue",
    "text": "page.glue",
    "models_note": "page.models",
    "phase_note": "page.phase",
    "record": "page.results",
    "records": "page.results",
    "save": "page.results",
    "stamp": "page.stamp",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"hierlib.book has no {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"hierlib.book.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
