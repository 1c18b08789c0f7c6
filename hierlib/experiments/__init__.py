"""What is measured on drawn grammars: U-turns, messages, changes, spectra, and the statistics of curves."""

from types import ModuleType

from hierlib import _lazy


def __getattr__(name: str) -> ModuleType:
    return _lazy.submodule(__name__, name)
