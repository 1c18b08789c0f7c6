"""What the book adds to Sphinx: executed notebooks to download, a stamp in every footer, one copy of a script."""

import shutil
import subprocess
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from markupsafe import Markup, escape


def setup(app) -> dict:
    app.connect("html-page-context", _offer_notebook, priority=400)  # before the theme makes its buttons, at 500
    app.connect("html-page-context", _stamp, priority=450)
    # After MathJax and everything else has added its scripts: earlier, this handler would drop MathJax.
    app.connect("html-page-context", _dedupe_scripts, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _offer_notebook(app, page: str, template, context: dict, doctree) -> None:
    """Puts the executed notebook into the download menu; the theme does so only with a launch button."""
    executed = Path(app.outdir).parent / "jupyter_execute" / f"{page}.ipynb"
    if doctree is None or not executed.exists():
        return
    target = Path(app.outdir) / "_sources" / f"{page}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(executed, target)
    context["ipynb_source"] = f"{page}.ipynb"


def _stamp(app, page: str, template, context: dict, doctree) -> None:
    """The footer of every page: which code made it, and how."""
    made = []
    depth = context["pathto"]
    if context.get("has_source") and context.get("sourcename"):
        made.append((depth(f"_sources/{context['sourcename']}", 1), "source"))
    if context.get("ipynb_source"):
        made.append((depth(f"_sources/{context['ipynb_source']}", 1), "executed notebook"))
    how = " and ".join(f'<a href="{escape(url)}" download>{name}</a>' for url, name in made)
    how = f"<span>How this page was made: {how}</span>" if how else ""
    build = f'<span class="hier-stamp">{escape(build_stamp(app.srcdir))}</span>'
    context["theme_extra_footer"] = Markup(build + how)


@cache
def build_stamp(folder: str | Path) -> str:
    """Version, commit and day of this build."""
    try:
        release = version("hierlib")
    except PackageNotFoundError:
        release = "from source"
    ask = ["git", "-C", str(folder), "describe", "--always", "--dirty=, with changes", "--exclude=*"]
    try:
        commit = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return f"hierlib {release} · commit {commit} · built {time.strftime('%Y-%m-%d', time.gmtime())}"


def _dedupe_scripts(app, page: str, template, context: dict, doctree) -> None:
    """Keeps each script once, and none of sphinx-thebe's.

    Jupyter Book adds thebe's inline script twice (an error in the console); the book has no kernel to offer.
    """
    seen, keep = set(), []
    for script in context.get("script_files", []):
        name, body = (
            str(getattr(script, "filename", script) or ""),
            getattr(script, "attributes", {}).get("body"),
        )
        if (name, body) not in seen and "thebe" not in name + (body or ""):
            keep.append(script)
        seen.add((name, body))
    context["script_files"] = keep
    context["css_files"] = [sheet for sheet in context.get("css_files", []) if "thebe" not in str(sheet.filename)]
