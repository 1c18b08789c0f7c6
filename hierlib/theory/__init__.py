"""What can be said without drawing a grammar: the paper's mean field, density evolution, exponents."""

from types import ModuleType

from hierlib import _lazy


def __getattr__(name: str) -> ModuleType:
    return _lazy.submodule(__name__, name)
