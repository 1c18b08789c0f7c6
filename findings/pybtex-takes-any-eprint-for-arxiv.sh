#!/usr/bin/env bash
# pybtex's styles print the eprint of a reference as a link to arXiv, whatever its archivePrefix says: a paper of HAL gets
# an address at arXiv that leads elsewhere. BibLaTeX and the BibTeX styles of the archives tell them apart by that very
# field. Give what is not in arXiv a url, and no eprint.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -qq pybtex==0.26.1
"$folder/env/bin/python" - <<'PYTHON'
from importlib.metadata import version

from pybtex.backends.html import Backend
from pybtex.database import parse_string
from pybtex.plugin import find_plugin

ENTRY = """@article{%s, author = {Doe, Jane}, title = {A paper}, journal = {Preprint}, year = 2020,
  eprint = {%s}, archivePrefix = {%s}}"""


def printed(number, archive):
    style = find_plugin("pybtex.style.formatting", "plain")()
    (entry,) = style.format_bibliography(parse_string(ENTRY % ("a", number, archive), "bibtex"))
    return entry.text.render(Backend("utf-8"))


print(f"versions   pybtex {version('pybtex')}")
print("expected   that the archive of an eprint is the one that archivePrefix names")
print("behaviour  every eprint is one of arXiv")
seen = [printed("2402.16991", "arXiv"), printed("hal-01234567", "HAL")]
for archive, text in zip(("arXiv", "HAL"), seen):
    print(f"seen       archivePrefix {archive}: {text[text.index('Preprint'):]}")
raise SystemExit(not all("arxiv.org/abs" in text for text in seen))
PYTHON
