"""Do two builds say the same? Compares every number that the chapters of two checkouts have recorded or saved.

    python benchmarks/same.py BEFORE AFTER          # two checkouts, or two folders of runs, built by `make book`

Answers (records.json) and data sets are compared to the last bit; a chapter that one side lacks is named. With
--within 1e-6 numbers may differ by that much, relative to the larger; each that does is listed. Exit code 1: by more.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr


def newest(folder: Path, like: dict[str, Path] | None = None) -> dict[str, Path]:
    """The newest run of each chapter, by slug; with `like`, of those with the parameters that its runs have, too."""
    runs = folder / "_build" / "runs" if (folder / "_build" / "runs").is_dir() else folder
    found: dict[str, Path] = {}
    for path in sorted(runs.glob("*/run.json"), key=lambda p: p.stat().st_mtime):
        slug = path.parent.name.rsplit("-", 1)[0]
        if not path.parent.name.startswith(".") and (
            like is None or slug not in like or _alike(path.parent, like[slug])
        ):
            found[slug] = path.parent
    return found


def _alike(a: Path, b: Path) -> bool:
    """Whether two runs have the same values of the parameters that both chapters take."""
    one, two = (json.loads((run / "run.json").read_text("utf-8"))["parameters"] for run in (a, b))
    return all(one[name] == two[name] for name in one.keys() & two.keys())


def values(run: Path) -> Iterator[tuple[str, object]]:
    """Every number and word of one run, with a name."""
    records = run / "records.json"
    for each in json.loads(records.read_text("utf-8")) if records.is_file() else ():
        yield from _leaves(each["id"], {key: each[key] for key in ("value", "interval")})
    for path in sorted((run / "data").glob("*.json")):
        yield from _leaves(path.name, json.loads(path.read_text("utf-8"))["data"])  # beside it: provenance
    for path in sorted((run / "data").glob("*.nc")):
        with xr.open_dataset(path, decode_cf=False) as data:
            for name in sorted(map(str, data.variables)):
                yield f"{path.name}:{name}", data[name].values


def _leaves(name: str, tree) -> Iterator[tuple[str, object]]:
    if isinstance(tree, dict):
        for key in sorted(tree):
            yield from _leaves(f"{name}.{key}", tree[key])
    elif isinstance(tree, list) and not all(isinstance(x, int | float) for x in tree):
        for i, each in enumerate(tree):
            yield from _leaves(f"{name}[{i}]", each)
    else:
        yield name, tree


def distance(a, b) -> float:
    """0 for the same bits, the largest relative difference of numbers, infinity for all else."""
    x, y = np.asarray(a), np.asarray(b)
    if x.shape != y.shape or x.dtype != y.dtype:
        return math.inf
    if x.dtype.kind not in "fiub":
        return 0.0 if (x == y).all() else math.inf
    if x.tobytes() == y.tobytes():
        return 0.0
    x, y = x.astype(float), y.astype(float)
    if not (np.isfinite(x) == np.isfinite(y)).all() or not (np.isnan(x) == np.isnan(y)).all():
        return math.inf
    with np.errstate(invalid="ignore"):
        off = np.abs(x - y) / np.maximum(np.abs(x), np.abs(y))
    return float(np.nanmax(np.where(x == y, 0.0, off)))


def compare(before: Path, after: Path, within: float = 0.0) -> tuple[int, list[str]]:
    """How many numbers were compared, and a line for each that differs."""
    old = newest(before)
    new = newest(after, like=old)
    lines = [f"{slug}: only in {(before if slug in old else after)}" for slug in sorted(old.keys() ^ new.keys())]
    count = 0
    for slug in sorted(old.keys() & new.keys()):
        was, now = dict(values(old[slug])), dict(values(new[slug]))
        lines += [
            f"{slug} {name}: only {'before' if name in was else 'after'}" for name in sorted(was.keys() ^ now.keys())
        ]
        for name in sorted(was.keys() & now.keys()):
            count += np.size(was[name])
            off = distance(was[name], now[name])
            if off > 0:
                what = "" if np.size(was[name]) > 4 else f" {was[name]} -> {now[name]}"
                lines.append(f"{slug} {name}: {off:.3g}{what}{' (allowed)' if off <= within else ''}")
    return count, lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--within", type=float, default=0.0, help="relative difference that is allowed (0: none)")
    options = parser.parse_args()
    for folder in (options.before, options.after):
        if not newest(folder):
            parser.error(f"{folder}: expected a checkout that `make book` has built, or its folder of runs; got none")
    count, lines = compare(options.before, options.after, options.within)
    chapters = len(newest(options.after))
    print(*lines, f"{count} numbers of {chapters} chapters compared, {len(lines)} lines differ", sep="\n")
    return int(any(not line.endswith("(allowed)") for line in lines))


if __name__ == "__main__":
    sys.exit(main())
