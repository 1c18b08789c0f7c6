#!/usr/bin/env bash
# jupyter-cache puts the path of its folder into the address of an SQLite database, where what stands behind a question
# mark is options. So the caches of "what? one" and "what? two" have one database, a file called "what" beside both, and
# each is told of notebooks that only the other one has. Keep caches in folders without a question mark in their path.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -qq jupyter-cache==1.0.1 nbformat==5.11.1
mkdir "$folder/work"
cd "$folder/work"
"$folder/env/bin/python" - <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn

print(f"versions   jupyter-cache {version('jupyter-cache')}, nbformat {version('nbformat')}")
print("expected   that a cache is in its folder, and a new one is empty")
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text="of one")]
get_cache("what? one").cache_notebook_bundle(CacheBundleIn(notebook, "a.ipynb"), check_validity=False)
records = get_cache("what? two").list_cache_records()
beside = sorted(path.name for path in Path(".").iterdir() if path.is_file())
print("behaviour  the path is cut at the question mark: both have one database, a file beside their folders")
print(f"seen       a new cache has {len(records)} record of the other one; files beside the two folders: {beside}")
try:
    get_cache("what? two").merge_match_into_notebook(notebook)
    said = "nothing"
except KeyError as error:
    said = f"KeyError: {error}"
print(f"seen       asked for that record it says: {said}")
raise SystemExit(not (len(records) == 1 and beside == ["what"] and "does not exist" in said))
PYTHON
