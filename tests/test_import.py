"""`import hierlib` is cheap: what it offers is there when it is asked for."""

import subprocess
import sys

import pytest

import hierlib as hl


@pytest.mark.slow
def test_the_import_alone_imports_no_torch_and_the_names_are_there():
    code = (
        "import sys, hierlib as hl\n"
        "assert not {'torch', 'numpy', 'numba'} & set(sys.modules)\n"
        "assert {*hl.__all__, 'meanfield', 'noise', '__version__'} <= set(dir(hl))\n"
        "assert hl.experiments.uturns.level_curves and hl.theory.population is hl.population\n"
        "from hierlib import *\n"
        "assert infer is hl.infer is sys.modules['hierlib.inference'].infer\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_what_is_not_there_is_said_to_be_missing():
    with pytest.raises(AttributeError, match="module 'hierlib' has no attribute 'inferr'"):
        hl.inferr  # noqa: B018
