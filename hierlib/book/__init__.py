"""The book: what its chapters use, and the machinery that runs them and builds the site.

from hierlib import book

rng = book.setup(seed)                        # house style, one thread, a seeded generator
book.figure(fig, "fig-name", alt="…")         # a figure for the page
book.record("claim-id", value, interval)      # the answer to a row of book/claims.yaml
book.save("name", dataset)                    # the numbers behind a figure
book.stamp()                                  # what made this page
"""

import importlib

# Where each public name lives. Fetched when first used, so that the command line starts at once and a
# chapter depends on the modules that it uses only (hierlib.book.cache reads this table).
_HOME = {
    "CHANCE": "style",
    "CHANGED": "style",
    "ERASED": "style",
    "INK": "style",
    "data": "style",
    "label_lines": "style",
    "level_bar": "style",
    "noise_ruler": "style",
    "palette": "style",
    "setup": "style",
    "theory": "style",
    "widths": "style",
    "figure": "glue",
    "html": "glue",
    "math": "glue",
    "number": "glue",
    "text": "glue",
    "record": "results",
    "save": "results",
    "stamp": "provenance",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"hierlib.book has no {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"hierlib.book.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
