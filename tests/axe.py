"""axe-core, the rules of accessibility that browsers' own tools use: fetched once from npm, its digest checked."""

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
from functools import lru_cache
from pathlib import Path

import pytest

VERSION = "4.14.1"
SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
KEPT = Path(__file__).parents[1] / "_build" / f"axe-core-{VERSION}.tgz"  # not in the repository
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@lru_cache
def script() -> str:
    """The source of axe-core; where npm cannot fetch it the test is skipped."""
    if not (KEPT.exists() and _right(KEPT.read_bytes())):
        if shutil.which("npm") is None:
            pytest.skip("not tested: axe-core's rules, because there is no npm to fetch it")
        KEPT.parent.mkdir(exist_ok=True)
        words = ["npm", "pack", f"axe-core@{VERSION}", "--pack-destination", str(KEPT.parent)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            done = None
        if done is None or done.returncode or not KEPT.exists():
            pytest.skip("not tested: axe-core's rules, because npm could not fetch it")
        assert _right(KEPT.read_bytes()), f"{KEPT.name} is not the package that was meant"
    with tarfile.open(fileobj=io.BytesIO(KEPT.read_bytes())) as package:
        return package.extractfile("package/axe.min.js").read().decode("utf-8")


def findings(page) -> list[str]:
    """What axe-core has against an open page: rule, what it says, and the first places."""
    page.evaluate(script() + "; null")
    violations = page.evaluate(
        "(rules) => axe.run(document, { runOnly: rules, resultTypes: ['violations'] }).then((found) => "
        "found.violations.map((v) => [v.id, v.help, v.nodes.map((n) => n.html.slice(0, 120))]))",
        RULES,
    )
    return [f"{rule}: {says} ({len(where)}): {' | '.join(where[:2])}" for rule, says, where in violations]


def _right(package: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(package).digest()).decode() == SHA512
