"""The API page: no public name is left out, and every section leads to a chapter that uses its names."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import hierlib

BOOK = Path(__file__).parents[1] / "book"
PAGE = (BOOK / "api.md").read_text("utf-8")
SECTIONS = re.split(r"^## ", PAGE, flags=re.M)[1:]
MODULES = re.findall(r"automodule:: ([\w.]+)", PAGE)


def module_of(name):
    found = getattr(hierlib, name)
    return getattr(found, "__module__", found.__name__)


def test_every_name_of_the_library_is_there_once():
    named = re.findall(r"auto(?:class|function):: hierlib\.(\w+)$", PAGE, re.M)
    assert sorted(named) == sorted(hierlib.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name):
    pytest.importorskip("diffusers")
    assert importlib.import_module(name).__doc__


def test_every_section_leads_to_a_chapter():
    for section in SECTIONS:
        links = re.findall(r"\{doc\}`([\w-]+)`", section)
        assert links and all((BOOK / f"{link}.md").exists() for link in links), section.splitlines()[0]


@pytest.mark.parametrize("name", sorted({*MODULES, *map(module_of, hierlib.__all__)}))
def test_no_prose_is_taken_for_a_type(name):
    """Napoleon splits these lines at a colon that is not in double backticks, and calls what is before it a type."""
    source = (BOOK.parent / name.replace(".", "/")).with_suffix(".py").read_text("utf-8")
    lines = re.findall(r"#: (.*)", source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            doc = ast.get_docstring(node) or ""
            lines += re.findall(r"^Returns:\n +(.*)", doc, re.M)
            if any(ast.unparse(one).endswith("property") for one in node.decorator_list):
                lines.append(doc.partition("\n")[0])
    assert not [line for line in lines if ":" in re.sub(r"``.+?``", "", line)]
