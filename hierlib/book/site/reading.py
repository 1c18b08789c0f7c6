"""How Sphinx reads the pages: each finds the outputs of its own run, and its header says what it said to the runner."""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from hierlib.book.runs.source import plain


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls; `hierlib.book.site.build` adds this to the extensions of _config.yml."""
    app.connect("source-read", _prepare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def cache_of(caches: Path, page: str) -> Path:
    """A cache for each page: jupyter-cache finds outputs by the code alone, and two pages may have the same code."""
    return caches / page


def _prepare(app: Sphinx, page: str, content: list[str]) -> None:
    """Just before a page is read, in the process that reads it."""
    caches = Path(app.config.nb_execution_cache_path)
    env: Any = app.env  # has what MyST-NB puts there
    env.mystnb_config = env.mystnb_config.copy(execution_cache_path=str(cache_of(caches, page)))
    content[0] = plain(content[0], str(env.doc2path(page, base=False)))
