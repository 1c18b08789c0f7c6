"""What the GPU kernels are made of, read from their machine code, and the time that follows: computed, not measured.

    python benchmarks/gpu_static.py      # no GPU is needed; Triton is: pip install 'hierlib[gpu]'

Every kernel is compiled for real devices. Of NVIDIA's the instructions are disassembled, too, and the innermost loops
of the sums over rules read. Three times follow for an H200, each as if nothing else took any: that of issuing the
instructions of those loops, that of their loads through L1, and that of all arrays through memory, once a kernel. The
real time is at least the largest of them, and nothing here says by how much.
"""

from __future__ import annotations

import os

os.environ.pop("TRITON_INTERPRET", None)  # before triton: the interpreter compiles nothing

from pathlib import Path
from typing import Annotated

import typer
from cpu import FOLDER, provenance, write_json
from gpu_code import SUMS, TARGETS, Variant, compiled, facts, loops, variants, warps

from hierlib import _paths

H200 = {"target": "sm_90", "multiprocessors": 132, "clock_Hz": 1.98e9, "memory_bytes_per_second": 4.8e12}  # data sheet
ISSUES, WARP = 4, 32  # warp instructions a cycle of a multiprocessor; its L1 serves one wavefront a cycle
BYTES = {"fp32": 4, "fp64": 8}
CASES = {"paper": dict(v=32, m=8, s=2, L=10), "three children": dict(v=16, m=8, s=3, L=6)}


def described(variant: Variant) -> dict:
    """All that is known of a kernel without running it."""
    found, code = facts(compiled(variant))
    out = variant._asdict() | found | {"warps": warps(variant.target, found["registers"])}
    if code:
        out |= {"instructions": len(code), "loads": sum("LDG" in line for line in code)}
    if code and variant.kernel in SUMS:
        out["loops"] = [loop._asdict() for loop in loops(code, variant.s + variant.weighted)]
    return out


def moved(v: int, s: int, L: int) -> int:
    """Numbers that inference without messages moves through memory for a datum: each array once a kernel."""
    size = [s ** (L - level) * v for level in range(L + 1)]
    every, above, below = sum(size), sum(size[1:]), sum(size[:-1])
    largest, up, normalise = size[0], below + above, 2 * above
    down, marginals = 2 * below + above, 4 * every - size[0]  # the leaves' marginals replace their message
    return largest + up + normalise + down + marginals


def times(case: dict[str, int], real: str, kernels: list[dict]) -> dict[str, float]:
    """Microseconds a datum on an H200, each bound alone; upward there is one sum a rule, downward one a child."""
    v, m, s, L = (case[name] for name in ("v", "m", "s", "L"))
    products, issue, l1 = (s**L - 1) // (s - 1) * v * m, 0.0, 0.0
    for kernel, sums in zip(SUMS, (1, s), strict=True):
        variant = Variant(H200["target"], kernel, real, s)
        loop = next(k["loops"][0] for k in kernels if all(k[name] == x for name, x in variant._asdict().items()))
        issue += sums * products * loop["instructions"] / ISSUES
        l1 += sums * products * loop["wavefronts"]
    cycles = WARP * H200["multiprocessors"] * H200["clock_Hz"]
    memory = moved(v, s, L) * BYTES[real] / H200["memory_bytes_per_second"]
    return {"issue slots": issue / cycles * 1e6, "L1": l1 / cycles * 1e6, "memory": memory * 1e6}


def main(
    target: Annotated[str | None, typer.Option(help=f"One device of {', '.join(TARGETS)}; else all.")] = None,
    out: Annotated[Path, _paths.option(help="The result file.")] = FOLDER / "results" / "gpu_static.json",
) -> None:
    """Compile, print a table, and write the result file."""
    if target not in (None, *TARGETS):
        raise typer.BadParameter(f"expected one of {', '.join(TARGETS)}, got {target}")
    import triton

    made = provenance([])
    made["command"] = f"python benchmarks/gpu_static.py{f' --target {target}' if target else ''}"
    made["clock"] = "none: computed from machine code, nothing is measured"
    made["versions"] |= {"triton": triton.__version__}
    kernels = []
    print("of a thread: registers; of a multiprocessor: warps; of a rule product of a datum: instructions, loads")
    for variant in variants():
        if target in (None, variant.target):
            kernels.append(found := described(variant))
            name = *variant[:-1], "weighted" if variant.weighted else ""
            text = " ".join(f"{x:>9}" for x in name) + f" {found['registers']:4} {found['warps']:4}"
            print(text, *(f"{k['instructions']:6.2f} {k['loads']:5.2f}" for k in found.get("loops", [])[:1]))
    result = {"provenance": made, "kernels": kernels}
    if target in (None, H200["target"]):
        result["H200"] = {"device": H200, "cases": {}}
        for title, case in CASES.items():
            found = {real: times(case, real, kernels) for real in BYTES}
            result["H200"]["cases"][title] = {"parameters": case, "microseconds_per_datum": found}
            for real, bounds in found.items():
                text = ", ".join(f"{name} {x:.2f}" for name, x in bounds.items())
                print(f"{title}, {real}, on an H200, computed, µs a datum: {text}")
    write_json(out, result)
    print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
