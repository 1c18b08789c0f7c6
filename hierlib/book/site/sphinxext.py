"""What the book adds to Sphinx: executed notebooks to download, a stamp in every footer, one copy of a script."""

import base64
import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any, TypeAlias

import nbformat
from docutils import nodes
from markupsafe import Markup, escape
from sphinx.application import Sphinx

import hierlib
from hierlib._provenance import commit
from hierlib.book.site import cells, full_size, ledger_page, search, under_figures
from hierlib.book.site.build import made_of

SOURCES = ".sources.json"  # in the site's folder
# What a line may not break: the spaces of 20 000, 95 %, 0.1 ± 0.2 and t = 0.07.
_TIED = re.compile(r"\d{1,3}(?: \d{3})+(?!\d)|\d %|\d ± \d|(?<!\w)\w{1,2}[*′]? [=≈≤≥<>] (?=[-−.\d])")
Context = dict[str, Any]
Doctree: TypeAlias = nodes.document | None
_MADE_OF = {".md", ".bib", ".yaml", ".html", ".css", ".js", ".svg", ".py"}


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls: everything that the book adds to it is connected here."""
    app.add_config_value("hier_repository", "", "html")  # not Jupyter Book's own: its default is Jupyter Book's address
    app.add_config_value("hier_stamp", "", "")  # not "html": a new day or commit alone makes no page anew
    cells.setup(app)
    ledger_page.setup(app)
    search.setup(app)
    under_figures.setup(app)
    full_size.setup(app)
    app.connect("builder-inited", _note_sources)
    app.connect("doctree-resolved", _keep_punctuation)
    app.connect("doctree-resolved", _keep_numbers)
    app.setup_extension("sphinx.ext.autodoc")  # whose event the next line wants
    app.connect("autodoc-skip-member", _skip_fields)
    app.connect("html-page-context", _offer_notebook, priority=400)  # before the theme makes its buttons, at 500
    app.connect("html-page-context", _sign_footer, priority=450)
    app.connect("html-page-context", _help_screen_readers)
    # After MathJax and everything else has added its scripts: earlier, this handler would drop MathJax.
    app.connect("html-page-context", _dedupe_scripts, priority=900)
    app.connect("build-finished", _write_font_data)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _keep_punctuation(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Ties a formula to the bracket before it and the punctuation after: browsers may break a line there."""
    for formula in list(doctree.findall(nodes.math)):
        parent = formula.parent
        at = next(i for i, each in enumerate(parent.children) if each is formula)  # index() takes an equal one for it
        before, after = parent[at - 1] if at else None, parent[at + 1] if at + 1 < len(parent) else None
        first, last = (each.astext() if isinstance(each, nodes.Text) else "" for each in (before, after))
        opening, closing = re.search(r"[(\[“‘]$", first), re.match(r"[.,;:!?)\]”’]+", last)
        if not (opening or closing):
            continue
        together = nodes.inline(classes=["nobreak"])
        parent[at] = together
        if opening:
            together += nodes.Text(opening[0])
            parent[at - 1] = nodes.Text(first[: opening.start()])
        together += formula
        if closing:
            together += nodes.Text(closing[0])
            parent[at + 1] = nodes.Text(last[closing.end() :])


def _keep_numbers(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """No line breaks inside of 20 000, between a number and its % or ±, nor in t = 0.07."""
    for text in list(doctree.findall(nodes.Text)):
        if isinstance(text.parent, nodes.literal | nodes.literal_block | nodes.raw | nodes.math | nodes.math_block):
            continue
        tied = _TIED.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
        if tied != text:
            at = next(i for i, each in enumerate(text.parent.children) if each is text)
            text.parent[at] = nodes.Text(tied)


def _skip_fields(app: Sphinx, what: str, name: str, member: object, skip: bool, options: object) -> bool | None:
    """The fields of a NamedTuple that has no words for them: the signature names them already."""
    return True if (getattr(member, "__doc__", None) or "").startswith("Alias for field number") else None


def _offer_notebook(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """Puts the executed notebook into the download menu; the theme does so only with a launch button."""
    executed = Path(app.outdir).parent / "jupyter_execute" / f"{page}.ipynb"
    if doctree is None or not executed.exists():
        return
    target = Path(app.outdir) / "_sources" / f"{page}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(executed, as_version=4)
    # Papermill runs the cells in order in a fresh kernel; jupyter-cache forgets the counts.
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        cell.execution_count = count
    nbformat.write(notebook, target)
    context["ipynb_source"] = f"{page}.ipynb"


def _sign_footer(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """The footer of every page: which code made it, and how."""
    made = []
    depth = context["pathto"]
    if context.get("has_source") and context.get("sourcename"):
        made.append((depth(f"_sources/{context['sourcename']}", 1), "source"))
    if context.get("ipynb_source"):
        made.append((depth(f"_sources/{context['ipynb_source']}", 1), "executed notebook"))
    how = " and ".join(f'<a href="{escape(url)}" download>{name}</a>' for url, name in made)
    how = f"<span>How this page was made: {how}</span>" if how else ""
    build = f'<span class="hier-stamp">{linked(app.config.hier_stamp, app.config.hier_repository)}</span>'
    context["theme_extra_footer"] = Markup(build + how)


def linked(stamp: str, repository: str) -> Markup:
    """The stamp of a build, its commit a link to the repository that _config.yml names, if it names one."""
    before, word, after = escape(stamp).partition("commit ")
    if not (word and repository):
        return Markup(before + word + after)
    commit, space, rest = after.partition(" ")
    base = repository.rstrip("/")
    to = f"{base}/commit/{commit}" if re.fullmatch(r"[0-9a-f]{7,40}", commit) else base
    return before + Markup('<a href="{}">{}</a>').format(to, word + commit) + space + rest


def build_stamp(root: Path) -> str:
    """Version, commit and day of this build."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"hierlib {hierlib.__version__} · commit {commit(root)} · built {day}"


def sources(root: Path) -> dict[str, str]:
    """Digest of every file that the site is made of, by its path: what tells an old site from a new one."""
    paths = [root / "_config.yml", root / "_toc.yml", *(p for p in made_of(root) if p.suffix in _MADE_OF)]
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def _note_sources(app: Sphinx) -> None:
    app.config.hier_stamp = app.config.hier_stamp or build_stamp(Path(app.srcdir))
    if app.builder.format == "html":  # at the start: a file that is edited meanwhile counts as newer
        (Path(app.outdir) / SOURCES).write_text(json.dumps(sources(Path(app.srcdir))))


def _write_font_data(app: Sphinx, error: Exception | None) -> None:
    """MathJax's fonts in a script, for browsers that refuse the files (see book/_assets/mathjax/fonts.js)."""
    folder = Path(app.outdir) / "_static" / "mathjax"
    if not error and folder.is_dir():
        fonts = {p.name: base64.b64encode(p.read_bytes()).decode() for p in sorted(folder.rglob("*.woff"))}
        (folder / "font-data.js").write_text(f"MathJax.fontData = {json.dumps(fonts, indent=0)};\n", "utf-8")


def _dedupe_scripts(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """Keeps each script once, and none of sphinx-thebe's.

    Jupyter Book adds thebe's inline script twice (an error in the console); the book has no kernel to offer.
    """
    seen, keep = set(), []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body") or ""
        key = (str(getattr(script, "filename", script) or ""), body)
        if key not in seen and "thebe" not in key[0] + body:
            keep.append(script)
        seen.add(key)
    context["script_files"] = keep
    context["css_files"] = [sheet for sheet in context.get("css_files", []) if "thebe" not in str(sheet.filename)]


def _help_screen_readers(app: Sphinx, page: str, template: str, context: Context, doctree: Doctree) -> None:
    """What a screen reader would stumble over: the empty corner of a table is no heading, a folded cell is called
    what is written on it, where MyST-NB hides that behind another name, and the references are items of their list.
    """
    if context.get("body"):
        body = context["body"].replace(' aria-label="Toggle hidden content"', "")
        body = body.replace('role="doc-biblioentry"', 'role="listitem"')
        context["body"] = re.sub(r'<th class="head">\s*(<p>\s*</p>)?\s*</th>', "<td></td>", body)
