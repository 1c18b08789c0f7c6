"""The targets of the Makefile hand over what they are given, and a target that fails leaves what was there."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAY = '#!/bin/sh\nfor word; do printf "[%s]" "$word"; done\n'
# A Python that makes environments of itself; freezing them fails where $FROZEN is empty.
PYTHON = """\
#!/bin/sh
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *" freeze "*) printf "$FROZEN" && test -n "$FROZEN" ;;
  *) echo "$*" >> asked ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    if not shutil.which("make"):
        pytest.skip("not tested: the Makefile, for there is no make")
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "requirements.lock").write_text("# Exact versions.\ntorch==2.1.0\ntorchvision==0.1.0\n")
    for name, text in {"hierlib": SAY, "python": PYTHON}.items():
        path = tmp_path / ".venv" / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (tmp_path / ".venv" / ".hierlib-ready").touch()
    for path in (tmp_path / "pyproject.toml", tmp_path / "requirements.lock"):
        os.utime(path, (time.time() - 60, time.time() - 60))

    def make(*words, **settings):
        words = ["make", "-s", *words, f"PYTHON={tmp_path}/.venv/bin/python"]
        own = {k: v for k, v in os.environ.items() if k not in {"VENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
        return subprocess.run(words, cwd=tmp_path, env=own | settings, capture_output=True, text=True)

    make.lock = tmp_path / "requirements.lock"
    return make


@pytest.mark.parametrize(
    "given, handed_over",
    [
        (['P=m=4 name="two words"'], "[-p][m=4][-p][name=two words]"),
        (["P=files='*.md' a='(b; c) & d'"], "[-p][files=*.md][-p][a=(b; c) & d]"),
        (["P=a='' e=1:3", "OUT=in a folder"], "[-p][a=][-p][e=1:3][--out][in a folder]"),
        ([], ""),
    ],
)
def test_run_hands_over_every_value_as_it_was_given(make, given, handed_over):
    done = make("run", "CH=x", *given)
    assert (done.returncode, done.stdout) == (0, f"[run][x]{handed_over}"), done.stderr


def test_a_lock_that_could_not_be_made_leaves_the_one_that_is_there(make):
    before = make.lock.read_text()
    assert make("lock", FROZEN="").returncode != 0
    assert make.lock.read_text() == before


def test_a_lock_keeps_its_head_and_torch(make):
    frozen = "zlib==1\\ntorch==2.1.0+cpu\\nnvidia-x==1\\nAbc==2\\n"
    done = make("lock", FROZEN=frozen)
    assert done.returncode == 0, done.stderr
    lines = make.lock.read_text().splitlines()
    mac = 'appnope==0.1.4; sys_platform == "darwin"'
    assert lines == ["# Exact versions.", "Abc==2", mac, "torch==2.1.0", "zlib==1"]
    assert "torch==2.1.0 torchvision==0.1.0" in (make.lock.parent / "asked").read_text(), "as the lock has them"
