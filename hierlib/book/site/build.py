"""Makes the site from finished runs: fills jupyter-cache, builds with Jupyter Book, packs the result.

The site is built beside the one that is there and takes its place when it is whole. Jupyter Book executes
nothing: it finds every notebook in the cache.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import yaml

from hierlib import _yaml
from hierlib._files import whole, write_text
from hierlib._locks import locked
from hierlib.book.page.results import claims
from hierlib.book.runs import source
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.run import Outcome
from hierlib.book.site import under_figures
from hierlib.book.site.ledger_page import ANSWERS, PAGES
from hierlib.book.site.reading import cache_of

# What else the pages are made of: a change here makes the site anew, and executes nothing.
_SOURCES = (
    "_config.yml",
    "_toc.yml",
    "requirements.lock",
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
    "README.md",
    PAGES,
)
# What Jupyter, editors and Macs leave beside a chapter, its notebook and hidden copies, are no pages: Sphinx would find
# two files of one name, or pages that the contents do not name.
_LEFT = ("**.ipynb", "**/.*")


class SiteError(RuntimeError):
    """The site could not be built; the message has the reasons and the log's place."""


def build_site(root: Path, runs: Iterable[Outcome], *, force: bool = False) -> bool:
    """Builds _build/html of what the runs have left and today's prose.

    Returns:
        False if the site that is there was made of just this.

    Raises:
        SiteError: Jupyter Book warned or failed, or a run answers a claim that the ledger does not have.
    """
    runs = list(runs)
    _check_claims(root, runs)
    build = root / "_build"
    build.mkdir(exist_ok=True)
    key, kept = _site_key(root, runs), build / "html.key"
    with locked(build / "site.lock") as lock:
        if not force and (build / "html" / "index.html").exists() and kept.exists() and kept.read_text() == key:
            return False
        work = build / "site"  # anew each time: no page, no output of yesterday
        shutil.rmtree(work, ignore_errors=True)
        _collect_answers(runs, build / ANSWERS)
        under_figures.note_runs(root, runs, build / under_figures.MADE)
        # not in the checkout: SQLite's locks, and what jupyter-cache makes of a path with a question mark
        with tempfile.TemporaryDirectory(prefix="hier-") as caches:
            for run in runs:
                _fill_cache(run, Path(caches))
            _jupyter_book(root, work, Path(caches), build / "site.log", lock)
        (work / "_build" / "html" / ".nojekyll").touch()  # or GitHub Pages serves no folder that begins with _
        kept.unlink(missing_ok=True)
        old = build / "html.old"
        shutil.rmtree(old, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            (build / "html").replace(old)
        (work / "_build" / "html").replace(build / "html")
        shutil.rmtree(old, ignore_errors=True)
        kept.write_text(key)
    return True


def zip_site(root: Path, target: Path) -> Path:
    """Packs _build/html into one archive, the same bytes from the same site."""
    html = root / "_build" / "html"
    if not (html / "index.html").exists():
        raise BadRequest("there is no site yet; `make book` builds it")
    with (
        whole(target) as part,
        locked(root / "_build" / "site.lock"),
        zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out,
    ):
        for path in sorted(p for p in html.rglob("*") if p.is_file() and p.name != ".buildinfo"):
            entry = zipfile.ZipInfo(f"{target.stem}/{path.relative_to(html).as_posix()}")
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            out.writestr(entry, path.read_bytes())
    return target


def _check_claims(root: Path, runs: list[Outcome]) -> None:
    """A cached run may answer a claim that has been renamed since; the ledger must not lose it silently."""
    known = claims(root) if (root / "book" / "claims.yaml").exists() else {}
    for run in runs:
        path = run.folder / "records.json"
        unknown = {row["id"] for row in json.loads(path.read_text("utf-8"))} - set(known) if path.exists() else None
        if unknown:
            raise SiteError(f"{run.job.target.slug} answers {', '.join(sorted(unknown))}: not in book/claims.yaml")


def _collect_answers(runs: list[Outcome], target: Path) -> None:
    """All answers of the runs in one file, with what made each; the page of claims is built from it."""
    found: dict[str, dict] = {}
    for run in runs:
        path = run.folder / "records.json"
        facts = json.loads((run.folder / "run.json").read_text("utf-8"))
        for row in json.loads(path.read_text("utf-8")) if path.exists() else []:
            if row["id"] in found:
                raise SiteError(f"{run.job.target.slug} and {found[row['id']]['chapter']} both answer {row['id']}")
            found[row["id"]] = row | {"commit": facts["commit"], "key": facts["key"]}
    write_text(target, json.dumps(found, indent=1) + "\n")


def _site_key(root: Path, runs: list[Outcome]) -> str:
    digest = hashlib.sha256()
    for path in (*(root / name for name in _SOURCES), *made_of(root), *sorted(run.notebook for run in runs)):
        if path.is_file():
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def made_of(root: Path) -> list[Path]:
    """The files of book/ and hierlib/, without what Python, Jupyter and editors leave there."""
    found = [p for folder in ("book", "hierlib") for p in sorted((root / folder).rglob("*")) if p.is_file()]
    names = {p: p.relative_to(root).parts for p in found}
    return [p for p in found if not any(_left(name) for name in names[p])]


def _left(name: str) -> bool:
    return name.startswith((".", "#")) or name.endswith((".ipynb", "~")) or name == "__pycache__"


def _fill_cache(run: Outcome, caches: Path) -> None:
    """Puts the run's outputs under today's prose into jupyter-cache."""
    import nbformat
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    path, root = run.job.target.path, run.job.target.root
    page = source.notebook(path, root)
    done = nbformat.read(run.notebook, as_version=4)
    cells, executed = ([c for c in nb.cells if c.cell_type == "code"] for nb in (page, done))
    if [c.source for c in cells] != [c.source for c in executed]:
        raise SiteError(f"{path.name} was edited during the build; build again")
    for cell, run_cell in zip(cells, executed):
        cell.outputs, cell.execution_count = run_cell.outputs, run_cell.execution_count
    seconds = {"execution_seconds": done.metadata["papermill"]["duration"]}
    bundle = CacheBundleIn(page, str(path), data=seconds)
    cache = cache_of(caches, path.relative_to(root).with_suffix("").as_posix())
    cache.mkdir(parents=True)
    get_cache(str(cache)).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def _config(root: Path, caches: Path, target: Path) -> Path:
    """_config.yml, made to pass over what is left beside the chapters, and to take their outputs from the caches."""
    config = _yaml.load((root / "_config.yml").read_text("utf-8"), "_config.yml")
    config["execute"] = {**(config.get("execute") or {}), "cache": str(caches)}
    config["exclude_patterns"] = [*(config.get("exclude_patterns") or ()), *_LEFT]
    sphinx = config.setdefault("sphinx", {})
    sphinx["extra_extensions"] = [*(sphinx.get("extra_extensions") or ()), "hierlib.book.site.reading"]
    local = sphinx.get("local_extensions", {})
    local |= {name: str(root / path) for name, path in local.items()}  # from where the file stood
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(yaml.safe_dump(config), "utf-8")
    return target


def _jupyter_book(root: Path, work: Path, caches: Path, log: Path, lock: IO) -> None:
    program = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    words = [*program, "build", ".", "--all", "-W", "--keep-going", "--path-output", str(work)]
    words += ["--config", str(_config(root, caches, work / "_config.yml"))]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    settings = {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    with log.open("w") as out:
        done = subprocess.run(
            words, cwd=root, env=settings, stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=[lock.fileno()]
        )
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text("utf-8", "replace"))
    log.write_text(text, "utf-8")
    bad = [line for line in text.splitlines() if re.search(r"\b(WARNING|ERROR|CRITICAL)\b|Error:", line)]
    executed = re.findall(r".*Executing notebook.*", text)
    if executed:
        bad.append(f"Jupyter Book executed a notebook itself, so the cache did not serve it: {executed[0].strip()}")
    if done.returncode or executed:
        bad = bad or text.splitlines()[-5:]
        reasons = "\n".join(f"  {line.strip()}" for line in dict.fromkeys(bad))
        raise SiteError(f"the site was not built; the whole log is in {log.relative_to(root)}\n{reasons}")
