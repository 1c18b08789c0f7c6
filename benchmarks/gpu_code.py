"""What the GPU kernels become for real devices, read from their machine code; no GPU is needed, but Triton is.

Shared by `gpu_static.py` and its test. TRITON_INTERPRET must not be set: the interpreter compiles nothing.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import triton
from triton.backends.compiler import GPUTarget

from hierlib._kernels import gpu, gpu_loops

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
REALS = ("fp32", "fp64")
CHILDREN = (2, 3, 4)
SUMS = ("up", "down")
OF_RULES = (*SUMS, "sample")
KERNELS = ("largest", *SUMS, "normalise", "marginals", "sample")
WARPS = 4  # of a program, Triton's own choice
FACTS = {  # of machine code, by what the tools call them; of a thread, but for the scalar registers, which are a wave's
    "registers": r"REG:(\d+)|\.vgpr_count: +(\d+)",
    "scalar_registers": r"\.sgpr_count: +(\d+)",
    "stack_bytes": r"STACK:(\d+)|\.private_segment_fixed_size: +(\d+)",
    "local_bytes": r"LOCAL:(\d+)",
    "spills": r"\.vgpr_spill_count: +(\d+)",
    "scalar_spills": r"\.sgpr_spill_count: +(\d+)",
}


class Variant(NamedTuple):
    """A kernel as it is compiled; s is 0 where the kernel does not ask for it; weighted if its rules have weights."""

    target: str
    kernel: str
    real: str
    s: int
    weighted: bool = False


def variants() -> Iterator[Variant]:
    """All that a user can meet: every device, kernel, type, number of children, with weights and without."""
    for target in TARGETS:
        for kernel in KERNELS:
            for real in REALS:
                for s in CHILDREN if kernel in OF_RULES else (0,):
                    for weighted in (False, True) if kernel in OF_RULES else (False,):
                        yield Variant(target, kernel, real, s, weighted)


def compiled(variant: Variant) -> triton.compiler.CompiledKernel:
    """As at a launch: pointers are aligned to 16 bytes, as torch's are, and integers have 32 bits."""
    kernel, real = getattr(gpu_loops, variant.kernel), f"*{variant.real}"
    columns = gpu.MANY if variant.kernel in SUMS else gpu.COLUMNS
    fixed = {"S": variant.s, "BLOCK": columns, "ROWS": gpu.ROWS, "LEAST": True}
    fixed |= {} if variant.weighted else {"weights": None}
    symbols = "*i64" if variant.kernel == "sample" else real  # above and below: of messages, or of symbols
    types = dict.fromkeys(("evidence", "largest", "up", "down", "message", "totals", "marginals", "weights"), real)
    types |= dict.fromkeys(("rules", "lists", "ends"), "*i32")
    types |= {"above": symbols, "below": symbols, "random": "*fp64"} | dict.fromkeys(fixed, "constexpr")
    signature = {name: types.get(name, "i32") for name in kernel.arg_names}
    values = {(i,): fixed[name] for i, name in enumerate(kernel.arg_names) if name in fixed}
    aligned = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind[0] == "*"}
    source = triton.compiler.ASTSource(fn=kernel, signature=signature, constexprs=values, attrs=aligned)
    return triton.compile(source, target=TARGETS[variant.target])


def facts(binary: triton.compiler.CompiledKernel) -> tuple[dict[str, int], list[str]]:
    """The FACTS that are told of a device's code, and its instructions in order (none but of NVIDIA's)."""
    if "cubin" in binary.asm:
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(binary.asm["cubin"])
            file.flush()
            command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", "-sass", file.name]
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    else:
        text = binary.asm["amdgcn"]
    found = {name: re.search(pattern, text) for name, pattern in FACTS.items()}
    code = re.findall(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", text, re.M)
    assert all(int(place, 16) == 16 * i for i, (place, _) in enumerate(code)), "instructions of 16 bytes"
    return {name: int(next(filter(None, m.groups()))) for name, m in found.items() if m}, [line for _, line in code]


class Loop(NamedTuple):
    """An innermost loop over rules, by what a thread does for one rule product of one datum."""

    products: int  # of all the data of a thread, one round
    instructions: float
    loads: float
    wavefronts: float  # what the loads take of L1, for a warp: 128 bytes each, or one number for all its threads


def loops(code: list[str], factors: int) -> list[Loop]:
    """The loops over rules of `up` or `down`, the one of most rules a round first; their products have s factors, and
    one more where rules have weights."""
    jumps = ((i, re.search(r"BRA\S* (?:\S+, )?0x([0-9a-f]+)", line)) for i, line in enumerate(code))
    spans = [(int(m[1], 16) // 16, i) for i, m in jumps if m and int(m[1], 16) // 16 <= i and m[1] != f"{16 * i:x}"]
    found = []
    for a, b in spans:
        body = code[a : b + 1]
        multiply = [re.search(r"[FD](?:MUL|FMA)(2?) ", line) for line in body]  # a 2 does two
        products = sum(1 + bool(m[1]) for m in multiply if m) // (factors - 1)
        if products and not any((c, d) != (a, b) and a <= c and d <= b for c, d in spans):
            loads = [m for line in body if (m := re.search(r"LDG\S*?(?:\.(64|128))? ", line))]
            wavefronts = sum(int(m[1] or 32) // 32 for m in loads)
            found.append(Loop(products, *(x / products for x in (len(body), len(loads), wavefronts))))
    return sorted(found, reverse=True)


def warps(target: str, registers: int) -> int:
    """Of a multiprocessor (NVIDIA), or waves of a SIMD unit (AMD), at once, as far as registers allow."""
    if target.startswith("sm"):
        return min(64, 65536 // (32 * -(-registers // 8) * 8)) // WARPS * WARPS
    return min(8, 512 // (-(-registers // 8) * 8))
