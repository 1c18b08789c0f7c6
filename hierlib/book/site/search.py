"""The site's search: what each section says, in a script that a page can load from the disk as well as a server."""

import base64
import json
import re
import unicodedata
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.util import logging

from hierlib import _yaml

TEXTS = "search-texts.js"  # in the site's _static: what js/search.js looks through
WORDS = "book/search-words.yaml"  # what readers call the pages and sections
_SIGNS = {
    **{"le": "≤", "ge": "≥", "leq": "≤", "geq": "≥", "approx": "≈", "to": "→", "times": "×", "pm": "±", "cdot": "·"},
    **{"dots": "…", "ell": "ℓ", "infty": "∞", "sum": "Σ", "prod": "Π", "mid": "|", "ast": "*"},
    **{"langle": "⟨", "rangle": "⟩", "uparrow": "↑", "downarrow": "↓"},
    **dict.fromkeys(("mathrm", "text", "mathbf", "operatorname", "left", "right", "tfrac", "frac", "quad"), ""),
}
_SCRIPT = """const searchTexts = () => new Response(new Blob([Uint8Array.from(atob("{}"), (c) => c.charCodeAt(0))])
  .stream().pipeThrough(new DecompressionStream("deflate"))).json();
"""
# What a reader does not search for: drawings, displayed equations, code, and of a name of the API its arguments.
_SILENT = (
    nodes.raw | nodes.comment | nodes.math_block | nodes.literal_block | nodes.doctest_block | nodes.image | nodes.title
    | nodes.target | nodes.field_list | addnodes.index | addnodes.toctree | addnodes.desc_signature
)  # fmt: skip
# Paragraphs that say where else to look, what the title says, or how a claim came out.
_ASIDE = {"used-in", "claim-head", "claim-facts", "claim-links"}


class Entry(NamedTuple):
    """What can be found: a section, a symbol, a term, a claim, or a name of the API, whose title is its anchor.

    `words` are other names of it.
    """

    anchor: str
    title: str
    text: str
    words: tuple[str, ...] = ()


def setup(app: Sphinx) -> None:
    """Connects it to Sphinx, and turns Sphinx's own index off."""
    app.connect("builder-inited", _begin)
    app.connect("doctree-read", _anchor_symbols)
    app.connect("html-page-context", _note)
    app.connect("build-finished", _write)


def entries(doctree: nodes.document) -> list[Entry]:
    """The sections, documented names and claims of a page, each with its own text, without that of others within it."""
    found = []
    for part in doctree.findall(_has_an_entry):
        if isinstance(part, nodes.section):
            anchor, title = part["ids"][0], _words(part.next_node(nodes.title))
        elif isinstance(part, addnodes.desc):
            signature = part.next_node(addnodes.desc_signature)
            if not signature["ids"] or isinstance(part.parent, addnodes.desc_content):  # a member: its class is found
                continue
            anchor, title = signature["ids"][0], ""  # its name, without that of the library: js/search.js knows
        elif isinstance(part, nodes.row):
            symbol, *rest = part.children
            title = _words(symbol)
            found.append(Entry(part["ids"][0], title, "; ".join(filter(None, map(_words, rest))), _spelled(title)))
            continue
        elif isinstance(part, nodes.definition_list_item):
            term = part.next_node(nodes.term)
            found.append(Entry(term["ids"][0], _words(term), _words(part.next_node(nodes.definition))))
            continue
        else:
            anchor, title = part["ids"][0], f"Claim {part.next_node(nodes.paragraph).children[-1].astext()}"
        found.append(Entry(anchor, title, _told(part)))
    return found


def _told(part: nodes.Element) -> str:
    """The text of a part; of a name of the API its first sentence."""
    text = _words(part)
    return _first_sentence(text) if isinstance(part, addnodes.desc) else text


def _first_sentence(text: str) -> str:
    """What stands before the first full stop that ends a sentence; all of it if none does.

    >>> _first_sentence("The law of x, e.g. of eq. (7): a sum. Its terms are many.")
    'The law of x, e.g. of eq. (7): a sum.'
    """
    found = re.match(r".*?[a-z0-9)²’”]{2}\.(?= [A-Z]|$)", text)
    return found[0] if found else text


def _has_an_entry(node: nodes.Node) -> bool:
    return (
        isinstance(node, nodes.section | addnodes.desc)
        or (isinstance(node, nodes.container) and "claim" in node["classes"])
        or (isinstance(node, nodes.row) and "symbol" in node["classes"])
        or (isinstance(node, nodes.definition_list_item) and isinstance(node.parent.parent, addnodes.glossary))
    )


def _spelled(symbols: str) -> tuple[str, ...]:
    """The symbols of a row with the names of its Greek letters: ε is found as epsilon."""
    spelled = re.sub(r"[α-ωϑϕ]|[Α-Ω]", lambda letter: _name(letter[0]), unicodedata.normalize("NFD", symbols))
    return () if spelled == unicodedata.normalize("NFD", symbols) else (spelled,)


def _name(letter: str) -> str:
    return unicodedata.name(letter).split()[-1].lower().replace("lamda", "lambda")  # as Unicode spells it


def _anchor_symbols(app: Sphinx, doctree: nodes.document) -> None:
    """Gives each row of a table of symbols, one whose head begins with that word, an address of its own."""
    for table in doctree.findall(nodes.table):
        head = table.next_node(nodes.thead)
        if head is None or head.next_node(nodes.entry).astext() != "symbol":
            continue
        for row in table.next_node(nodes.tbody).children:
            base = anchor = f"symbol-{nodes.make_id(row[0].astext())}"
            count = 1
            while anchor in doctree.ids:
                count += 1
                anchor = f"{base}-{count}"
            row["ids"], row["classes"] = [anchor], ["symbol"]
            doctree.ids[anchor] = row


def _words(node: nodes.Node) -> str:
    """The text of a node in one line, without the parts that are entries of their own."""
    if isinstance(node, nodes.Text):
        return re.sub(r"\s+", " ", node.astext())
    if isinstance(node, nodes.math):
        return readable(node.astext())
    inside = (child for child in node.children if not _is_left_out(child))
    if isinstance(node, nodes.TextElement):
        return "".join(map(_words, inside))
    return " ".join(filter(None, map(_words, inside)))


def _is_left_out(node: nodes.Node) -> bool:
    aside = isinstance(node, nodes.paragraph) and not _ASIDE.isdisjoint(node["classes"])
    return aside or isinstance(node, _SILENT) or _has_an_entry(node)


def readable(tex: str) -> str:
    r"""A formula as one line of text, near enough to find and to recognise it.

    >>> readable(r"\bar\alpha(t) \le m_c \ln v")
    'ᾱ(t) ≤ m_c ln v'
    """
    tex = re.sub(r"\\bar\s*(?:\\alpha|\{\\alpha\})", "ᾱ", tex)
    tex = re.sub(r"\\bar\s*(\w)", "\\1\N{COMBINING MACRON}", tex)
    tex = re.sub(r"\\([A-Za-z]+)", lambda found: _sign(found[1]), tex).replace("^*", "*")
    return re.sub(r"\s+", " ", re.sub(r"\\.|[{}\\]", "", tex.replace("\\ ", " "))).strip()


def _sign(name: str) -> str:
    """What a command of TeX prints: a Greek letter, a sign, or its own name, as that of a function."""
    size = "SMALL" if name.islower() else "CAPITAL"
    try:
        letter = name.removeprefix("var").upper().replace("LAMBDA", "LAMDA")  # as Unicode spells it
        return unicodedata.lookup(f"GREEK {size} LETTER {letter}")
    except KeyError:
        return _SIGNS.get(name, f" {name} ")


def _begin(app: Sphinx) -> None:
    if isinstance(app.builder, StandaloneHTMLBuilder):
        app.builder.search = False  # no setting of Sphinx says it
        app.config.html_additional_pages["search"] = "search.html"


def _note(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Keeps the entries of a page in a file: another process may write the next page."""
    if doctree is None:
        return
    kept = Path(app.doctreedir) / "search" / f"{page}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(entries(doctree)), "utf-8")


def name_by(found: dict[str, list[Entry]], words: Mapping[str, Any]) -> list[str]:
    """Adds readers' words to the entries of the pages; returns the places that are none of them.

    Args:
        found: entries by page, to be changed.
        words: for each PAGE of book/ or PAGE#ANCHOR its phrases; with a title, an entry more, maybe of PAGE?CHOICE.
    """
    lost = []
    for place, said in words.items():
        name, *rest = re.split(r"#|(?=\?)", place, maxsplit=1)
        anchor = "".join(rest)
        parts = found.get(f"book/{name}", [])
        if isinstance(said, Mapping):
            at = len(parts) if parts else None
            parts.append(Entry(anchor, said["title"], ""))
            said = said["words"]
        else:
            at = next((i for i, each in enumerate(parts) if each.anchor == anchor or not anchor), None)
        if at is None:
            lost.append(place)
        else:
            parts[at] = parts[at]._replace(words=(*parts[at].words, *said))
    return lost


def _short(entry: Entry) -> tuple:
    """What is written of an entry: js/search.js knows how all names of the API begin."""
    anchor = re.sub(r"^hierlib(?=\.)", "", entry.anchor)
    return (anchor, *entry[1:]) if entry.words else (anchor, *entry[1:3])


def _write(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    found = {}
    for page in sorted(app.env.found_docs):
        kept = Path(app.doctreedir) / "search" / f"{page}.json"
        if kept.exists():
            found[page] = [Entry(*each) for each in json.loads(kept.read_text("utf-8"))]
    path = Path(app.srcdir) / WORDS
    if path.exists():
        for place in name_by(found, _yaml.load(path.read_text("utf-8"), WORDS)):
            logging.getLogger(__name__).warning(f"{WORDS}: no page or section of the book is {place}")
    pages = [[app.builder.get_target_uri(page), [_short(each) for each in parts]] for page, parts in found.items()]
    (Path(app.outdir) / "_static" / TEXTS).write_text(packed(pages), "utf-8")


def packed(pages: list[Any]) -> str:
    """The script that holds the texts, deflated to two fifths of their size; what it defines unpacks them."""
    text = json.dumps(pages, ensure_ascii=False, separators=(",", ":"))
    return _SCRIPT.format(base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii"))


def unpacked(script: str) -> list[Any]:
    """The pages that `packed` has written."""
    begin, end = _SCRIPT.split("{}")
    text = script.removeprefix(begin).removesuffix(end)
    return json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
