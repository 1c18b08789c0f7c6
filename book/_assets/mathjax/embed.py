"""Writes fonts.js: the faces that most formulas use, as data URIs (see README.md)."""

import base64
import json
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ["Zero", "Main-Regular", "Main-Bold", "Main-Italic", "Math-Italic", "Math-BoldItalic", "AMS-Regular"]
NAMES += ["Calligraphic-Regular", *(f"Size{i}-Regular" for i in (1, 2, 3, 4))]
woff = HERE / "output" / "chtml" / "fonts" / "woff-v2"
fonts = {f"MathJax_{n}.woff": base64.b64encode((woff / f"MathJax_{n}.woff").read_bytes()).decode() for n in NAMES}
HEAD = "// Written by embed.py. MathJax's commonest faces as data URIs: Firefox refuses font files on file:// pages."
BODY = r"""
  const { TeXFont } = MathJax._.output.chtml.fonts.tex_ts;
  for (const face of Object.values(TeXFont.defaultFonts)) {
    const name = face.src.match(/MathJax_[\w-]+\.woff/)[0];
    if (fonts[name]) face.src = `url("data:font/woff;base64,${fonts[name]}") format("woff")`;
  }
})();
"""
(HERE / "fonts.js").write_text(f"{HEAD}\n(() => {{\n  const fonts = {json.dumps(fonts, indent=1)};{BODY}")
