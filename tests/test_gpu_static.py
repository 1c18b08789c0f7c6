"""The GPU kernels compiled for real devices, of which none is needed: what their machine code is made of."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TRITON = importlib.util.find_spec("triton") is not None
# Of a thread. Four data are four numbers for each child, of twice the size in float64; a weight has an address.
MOST_REGISTERS = {"fp32": 40, "fp64": 64}
compiles = pytest.mark.skipif(
    not TRITON, reason="Not tested: the machine code of the GPU kernels; pip install triton, no GPU is needed"
)


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("target", ["sm_80", "sm_90", "sm_100", "gfx942"])
def test_gpu_kernels_keep_to_registers(target, tmp_path):
    """For every device, type and number of children, with weights and without; and what the sums over rules cost."""
    command = [sys.executable, "benchmarks/gpu_static.py", "--target", target, "--out", str(tmp_path / "out.json")]
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text("utf-8"))
    kernels = result["kernels"]
    assert len(kernels) == 2 * (3 * 3 * 2 + 3), "types times kernels, three for three numbers of children and weights"
    for kernel in kernels:
        name = tuple(kernel[key] for key in ("target", "kernel", "real", "s", "weighted"))
        assert kernel["registers"] <= MOST_REGISTERS[kernel["real"]] + 8 * kernel["weighted"], name
        needs = {key: kernel[key] for key in ("stack_bytes", "local_bytes", "spills", "scalar_spills") if key in kernel}
        assert len(needs) >= 2 and not any(needs.values()), (name, needs)
        if target.startswith("sm") and kernel["kernel"] in ("up", "down"):
            most = max(kernel["loops"], key=lambda loop: loop["products"])
            factors = kernel["s"] * (0.5 if kernel["real"] == "fp32" else 0.75)  # groups at once
            assert most["loads"] <= factors + 0.25 * kernel["weighted"], name  # one weight for four data
            if (kernel["real"], kernel["s"]) == ("fp32", 2):
                assert most["instructions"] <= 6 + 2 * kernel["weighted"], name
    if target == "sm_90":
        for case in result["H200"]["cases"].values():
            single, double = (case["microseconds_per_datum"][real] for real in ("fp32", "fp64"))
            assert double["memory"] == pytest.approx(2 * single["memory"])
            assert 0.01 < single["issue slots"] < single["L1"] < 1


@pytest.mark.slow
@compiles
def test_loops_are_read_from_machine_code():
    """Two loops over products of three factors, of four and of two data; a loop without products is none of them."""
    code = [
        "LDG.E R0, desc[UR4][R2.64]",
        "LDG.E.128 R4, desc[UR4][R2.64]",
        *["FMUL R4, R4, R8"] * 4,
        *["FFMA R4, R4, R8, R4"] * 4,
        "@P0 BRA 0x0",
        "IADD3 R1, R1, 0x1, RZ",
        "@!P1 BRA 0xb0",
        "LDG.E.64 R4, desc[UR4][R2.64]",
        "FMUL2 R4, R4.F32x2.HI_LO, R8.F32x2.HI_LO",
        "FFMA2 R4, R4.F32x2.HI_LO, R8.F32x2.HI_LO, R4.F32x2.HI_LO",
        "BRA.U UP0, 0xd0",
        "@P2 BRA 0x0",
        "BRA 0x120",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    script = f"import json; from gpu_code import loops; print(json.dumps(loops({code!r}, 3)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks"), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[4, 11 / 4, 2 / 4, 5 / 4], [2, 2.0, 0.5, 1.0]]


def test_the_stored_result_says_what_made_it_and_that_nothing_was_measured():
    result = json.loads((ROOT / "benchmarks" / "results" / "gpu_static.json").read_text("utf-8"))
    made = result["provenance"]
    assert made["command"] == "python benchmarks/gpu_static.py" and "computed" in made["clock"]
    assert all(made[key] for key in ("versions", "commit", "date")) and "dirty" not in made["commit"]
    assert {kernel["target"] for kernel in result["kernels"]} == {"sm_80", "sm_90", "sm_100", "gfx942"}
