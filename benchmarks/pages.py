"""What a page of the site costs a reader: bytes loaded, when the first of it is seen, and when live figures are drawn.

    make book && python benchmarks/pages.py      # three minutes; writes results/pages.json

Every page is opened by a headless Chromium in a fresh profile, so with an empty cache, from a server on this machine,
without compression. First paint is the browser's own first-contentful-paint; live figures are counted from the start of
the page, too. Both are medians of the rounds. The wire is free here: on a slow one the bytes are what counts.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
from cpu import FOLDER, provenance, write_json

from hierlib import _paths
from tests import browser as b

_LIVE = f"""() => document.readyState !== "loading" &&
  (document.querySelector("[data-live]") ? ({b.LIVE_DRAWN})() : true)"""
_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def measure(browser, url: str, rounds: int) -> dict:
    """Kilobytes of one page, milliseconds to its first paint and, where it has live figures, until they are drawn."""
    sizes, paints, drawn = [], [], []
    for _ in range(rounds):
        with b.visit(browser, url, idle=True) as seen:
            paints.append(seen.page.wait_for_function(_PAINT).json_value())  # a page may have loaded before it is seen
            sizes.append(sum(seen.transfers))
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(url, wait_until="commit")
        drawn.append(page.wait_for_function(_LIVE, polling=10).json_value())
        context.close()
    found = {"kB": round(max(sizes) / 1e3), "first_paint_ms": round(statistics.median(paints))}
    return found | ({"live_ms": round(statistics.median(drawn))} if drawn[0] is not True else {})


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    site: Annotated[Path, _paths.option(help="The folder of the site.")] = b.SITE,
    out: Annotated[Path, _paths.option()] = FOLDER / "results" / "pages.json",
) -> None:
    """Measure the pages of the book."""
    names = [page for page in b.pages(site) if page.parent != Path(".")]  # search and index are the theme's
    if not names:
        raise typer.BadParameter(f"there is no site in {site}; `make book` builds it")
    with b.chromium() as browser, b.serve(site) as address:
        found = {page.with_suffix("").as_posix(): measure(browser, f"{address}/{page}", rounds) for page in names}
        made = provenance([]) | {"clock": "the browser's"}
        made["command"] = "python benchmarks/pages.py" + (f" --rounds {rounds}" if rounds != 3 else "")
        made["versions"]["chromium"] = browser.version
    write_json(out, {"provenance": made, "pages": found})
    typer.echo(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
