"""Hands a chapter's results to its page: figures, live figures, numbers, sentences and equations.

Each function stores one object under a key of the executed notebook (`myst_nb.glue`); the prose places it
by ``{glue:figure}``, ``{glue:text}`` or ``{glue:math}``. A key may be used once in a chapter, and every
figure needs a text for those who cannot see it.
"""

import base64
import html as _html
import io
import re
import warnings
from collections.abc import Mapping
from math import isfinite
from numbers import Integral
from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from myst_nb import glue as _glue

from hierlib.book.page.intervals import one
from hierlib.book.page.style import ERASED, INK, PAPER
from hierlib.experiments.curves import Interval


class Drawing(NamedTuple):
    """What a function of `hierlib.book.figures` makes: a figure, and what it says to those who cannot see it."""

    fig: Figure
    alt: str  #: one or two sentences that say what one sees; not the caption
    live: str = ""  #: markup of the live figure, with one element ``.live-stage`` a part (book/_assets/js/live.js)


Shown = float | Interval | str | tuple | None  # what `numbers` takes: see there
NONE = "none"  # a number that does not exist at the parameters of this run
HEAVY = 300_000  # bytes of one inline SVG; above this a phone notices
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_keys: set[str] = set()

# What the page's mode decides: matplotlib writes colours in lower case, in style attributes.
_THEMED = {INK: "currentColor", PAPER: "var(--hier-paper, #fff)", ERASED: "var(--hier-erased, #e4e4e4)"}


class Bundle:
    """An object that shows as the given mime types."""

    def __init__(self, **data: str):
        self.data = data

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {k.replace("_", "/"): v for k, v in self.data.items()}


def reset() -> None:
    """Forgets the keys used so far (`setup` calls it, so a chapter can be run again from its top)."""
    _keys.clear()


def show(key: str, drawing: Drawing) -> None:
    """Glues a drawing under `key` and closes its figure.

    The page shows it as inline SVG whose ink is the colour of the text, so that one file serves light and dark; other
    builders take the PNG. Of a live figure this is the twin for print, other builders and readers without scripts.
    """
    alt = _alt(drawing.alt, key)
    page = svg(drawing.fig, f"{key}-still" if drawing.live else key, alt=alt)
    if drawing.live:
        page = (
            f'<div class="live" role="group" aria-label="{_html.escape(alt)}">{drawing.live}'
            f'<div class="live-still">{page}</div></div>'
        )
    _paste(key, Bundle(text_html=page, image_png=_png(drawing.fig), text_plain=alt))
    plt.close(drawing.fig)


def number(
    key: str, value: float | Interval | None, fmt: str = ".3g", interval: tuple[float, float] | None = None
) -> None:
    """Glues a number for the prose, with its 95 % interval if given.

    The interval prints as ± when it is symmetric to the last digit shown, else as [lo, hi]; where one of its ends is
    not finite, not at all. A number that does not exist at the parameters of this run, None or not finite, prints
    as "none".

    Args:
        value: a number, or an `Interval` with its own ends (which may just miss it: they come from resampling).
        fmt: a format specification; the same for the value and its interval. ".0%" gives 12 %.
        interval: None or the pair (lo, hi).

    Raises:
        ValueError: the value is outside its interval.
    """
    if isinstance(value, Interval):
        value, interval = one(value)
    if value is None or not (isinstance(value, Integral) or isfinite(value)):
        return text(key, NONE)
    unit = "\N{NO-BREAK SPACE}%" if fmt.endswith("%") else ""

    def shown(x: float, fmt: str = fmt) -> str:
        return format(x, fmt).removesuffix("%")

    text_ = shown(value)
    if interval is not None and all(map(isfinite, interval)):
        lo, hi = interval
        if not lo <= value <= hi:
            raise ValueError(f"glue {key!r}: the value {value} is outside its interval [{lo}, {hi}]")
        down, up = (shown(x, fmt.removeprefix("+")) for x in (value - lo, hi - value))
        text_ += f" ± {up}" if down == up else f" [{shown(lo)}, {shown(hi)}]"
    _paste(key, _words((text_ + unit).replace("-", "\N{MINUS SIGN}")))  # not a hyphen, in exponents too


def numbers(values: Mapping[str, Shown], fmt: str | None = None) -> None:
    """Glues many at once.

    Args:
        values: by key a number or an `Interval`, as `number` takes it; a tuple of such and its format, and maybe its
            interval, as (0.0701, ".3f") or (0.0701, ".3f", (0.069, 0.071)); or a word, which stays as it is.
        fmt: of those that bring none; by default whole numbers are written in full, others to three digits.
    """
    for key, value in values.items():
        if isinstance(value, str):
            text(key, value)
        elif isinstance(value, tuple) and not isinstance(value, Interval):
            number(key, *value)
        else:
            number(key, value, fmt or ("d" if isinstance(value, Integral) else ".3g"))


def text(key: str, value: str) -> None:
    """Glues a sentence or a word that the code has decided."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"glue {key!r}: expected a non-empty string, got {value!r}")
    _paste(key, _words(value))


def math(key: str, *sides: object, reorder: Mapping[str, str] | None = None) -> None:
    """Glues a displayed equation.

    Args:
        sides: each a sympy expression or equation, or LaTeX without dollars; several are joined by equals signs.
        reorder: what sympy writes, and how a reader expects it: it sorts the terms of a sum by its own lights.
    """
    latex = " = ".join(map(_latex, sides))
    for old, new in (reorder or {}).items():
        latex = latex.replace(old, new)
    _paste(key, Bundle(text_latex=f"$\\displaystyle {latex}$", text_plain=latex))


def equations(found: Mapping[str, object], *, reorder: Mapping[str, str] | None = None) -> None:
    """Glues many at once: by key what `math` takes, several sides as a tuple."""
    for key, sides in found.items():
        math(key, *(sides if isinstance(sides, tuple) else (sides,)), reorder=reorder)


def _latex(side: object) -> str:
    if isinstance(side, str):
        return side
    import sympy

    return sympy.latex(side)


def svg(fig: Figure, key: str, *, alt: str) -> str:
    """The figure as inline SVG for a page: ids prefixed by `key`, ink as currentColor, no fixed size."""
    buffer = io.StringIO()
    fig.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    body = buffer.getvalue()
    viewbox = re.findall(r'viewBox="([^"]+)"', body)[0]
    width = fig.get_figwidth()
    body = body[body.index(">", body.index("<svg")) + 1 : body.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.S)
    body = re.sub(r'(?<=\sd=")[^"]*', lambda m: _round(m[0]), body)  # six decimals of a point: too many
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', body))
    used = {a or b for a, b in used}
    ids = re.compile(r'\sid="([^"]+)"')
    body = ids.sub(lambda m: f' id="{key}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{key}-", body).replace("xlink:href", "href")
    for colour, themed in _THEMED.items():
        body = re.sub(colour + r"(?![0-9a-f])", themed, body, flags=re.I)
    body = re.sub(r">\s+<", "><", body).strip()
    out = (
        f'<svg class="hier-figure" xmlns="http://www.w3.org/2000/svg" viewBox="{viewbox}" role="img" '
        f'aria-label="{_html.escape(alt)}" style="--figure-width:{width:g}" fill="currentColor">{body}</svg>'
    )
    if len(out) > HEAVY:
        warnings.warn(
            f"figure {key!r}: {len(out) // 1000} kB of SVG; pass rasterized=True to its heavy artists",
            stacklevel=3,
        )
    return out


def _round(path: str) -> str:
    return " ".join(re.sub(r"-?\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", path).split())


def _png(fig: Figure) -> str:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=150)
    return base64.b64encode(buffer.getvalue()).decode()


def _alt(alt: str, key: str) -> str:
    alt = " ".join(str(alt).split())
    if len(alt) < 20 or " " not in alt or re.search(r"\.(png|svg|jpe?g)$", alt):
        raise ValueError(f"figure {key!r}: alt must say in a sentence what one sees, got {alt!r}")
    return alt


def _words(value: str) -> Bundle:
    """Text as {glue:text} wants it: it evaluates what it gets, and bare would turn 0.010 to 0.01, 20,000 to (20, 0).

    Powers are raised, 10^924 becomes 10⁹²⁴; thousands are parted by a narrow space; a number below zero has a
    minus, and zero has none.
    """
    raised = re.sub(r"\^(\d+)", lambda power: power[1].translate(_RAISED), value)
    parted = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "\u202f", raised)
    zeros = re.sub(r"(?<![^\s(\[])[-\N{MINUS SIGN}](?=0?\.?0+(?!\.?\d))", "", parted)
    return Bundle(text_plain=repr(re.sub(r"(?<![^\s(\[])-(?=\.?\d)", "\N{MINUS SIGN}", zeros)))


def _paste(key: str, bundle: Bundle) -> None:
    if not re.fullmatch(r"[A-Za-z][\w-]*", key):
        raise ValueError(f"key {key!r}: letters, digits, - and _ only, a letter first")
    if key in _keys:
        raise ValueError(f"key {key!r} is already used in this chapter; to run a cell again, run the set-up cell")
    _keys.add(key)
    _glue(key, bundle, display=False)
