"""What tests/mutations.py removes, by subject: each guard, what stands there without it, the test that must notice."""

from typing import NamedTuple


class Guard(NamedTuple):
    """A piece of code, what stands there without the guard, and the test that must notice."""

    name: str
    file: str
    old: str
    new: str
    test: str
