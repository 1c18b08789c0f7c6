"""The API page: no public name is left out, and every section leads to a chapter that uses its names."""

import importlib
import re
from pathlib import Path

import pytest

import hierlib

BOOK = Path(__file__).parents[1] / "book"
PAGE = (BOOK / "api.md").read_text("utf-8")
SECTIONS = re.split(r"^## ", PAGE, flags=re.M)[1:]


def test_every_name_of_the_library_is_there_once():
    named = re.findall(r"auto(?:class|function):: hierlib\.(\w+)$", PAGE, re.M)
    assert sorted(named) == sorted(hierlib.__all__)


@pytest.mark.parametrize("name", re.findall(r"automodule:: ([\w.]+)", PAGE))
def test_every_module_says_what_it_is_for(name):
    pytest.importorskip("diffusers")
    assert importlib.import_module(name).__doc__


def test_every_section_leads_to_a_chapter():
    for section in SECTIONS:
        links = re.findall(r"\{doc\}`([\w-]+)`", section)
        assert links and all((BOOK / f"{link}.md").exists() for link in links), section.splitlines()[0]
