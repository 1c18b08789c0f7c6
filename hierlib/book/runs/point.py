"""Runs one point in this process: a chapter by papermill, a quantity by a call. What it leaves goes into a folder."""

import contextlib
import copy
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hierlib.book.page.stamp import RUN_DIR
from hierlib.book.runs.checkout import Chapter
from hierlib.book.runs.params import DEVICE, placed
from hierlib.book.runs.targets import Quantity, Target

if TYPE_CHECKING:
    from nbformat import NotebookNode

# One thread a chapter: its arrays are small, and chapters run side by side. The chapters fetch nothing.
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    **dict.fromkeys(("NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"),
    "PYTHONHASHSEED": "0",
    "HF_HUB_OFFLINE": "1",
    "HDF5_USE_FILE_LOCKING": "FALSE",  # see hierlib._locks
    "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this environment, not one that the user has installed
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


def run_point(target: Target, values: Mapping, given: Mapping, folder: Path, timeout: int | None) -> None:
    """Fills the folder of a run; whatever the chapter or the quantity raises comes out.

    Args:
        values: a value for every parameter.
        given: those that differ from the defaults; papermill puts these into the notebook.
        timeout: seconds that one cell may take, None for no limit.
    """
    if isinstance(target, Chapter):
        defaults = {name: parameter.default for name, parameter in target.parameters.items()}
        elsewhere = {DEVICE: values[DEVICE]} if placed(defaults, here=False).get(DEVICE) != values.get(DEVICE) else {}
        _papermill(target, {**given, **elsewhere}, folder, timeout)
    else:
        _call(target, values, folder)


def _call(quantity: Quantity, values: Mapping, folder: Path) -> None:
    import torch

    from hierlib.book.page.results import save

    with environment({**ENVIRONMENT, RUN_DIR: str(folder)}):
        torch.set_num_threads(1)  # sums are the same on every machine and beside every other process
        save(quantity.slug, quantity(**values))


def _papermill(chapter: Chapter, given: Mapping, folder: Path, timeout: int | None) -> None:
    import papermill
    from jupyter_client import AsyncKernelManager
    from traitlets.config import Config

    class Kernel(AsyncKernelManager):
        """Is asked to end when its notebook has ended, but not interrupted before, which it may report as an error."""

        async def _async_interrupt_kernel(self) -> None:
            pass

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it cannot read a parameter's constraint, and says so
    root = chapter.root
    # Kernels talk by sockets in a folder, since ports are found by trial and two kernels may find the same one.
    # A socket's path has 104 characters at most, and temporary folders of macOS have long names.
    scratch = tempfile.mkdtemp(prefix="hier-", dir="/tmp" if os.access("/tmp", os.W_OK) else None)
    settings = {
        **ENVIRONMENT,
        RUN_DIR: str(folder),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")])),
        "IPYTHONDIR": scratch,  # no start-up files of the user, no history shared between kernels
        "JUPYTER_RUNTIME_DIR": scratch,
        "MPLCONFIGDIR": str(root / "_build" / "matplotlib"),
    }
    notebook = copy.deepcopy(chapter.notebook)
    notebook.metadata.pop("source_map", None)
    try:
        with environment(settings):
            done = papermill.execute_notebook(
                notebook,
                f"{folder / chapter.slug}.ipynb".replace("{", "{{").replace("}", "}}"),  # it formats that name
                parameters=dict(given),
                cwd=str(chapter.path.parent),
                kernel_name="python3",
                progress_bar=False,
                start_timeout=180,
                execution_timeout=timeout,
                kernel_manager_class=Kernel,
                on_cell_executed=lambda cell, cell_index, execute_reply: _no_exit(chapter, cell, execute_reply),
                config=Config({"KernelManager": {"transport": "ipc", "ip": f"{scratch}/kernel"}}),
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _check_ended(chapter, done)


def _no_exit(chapter: Chapter, cell: "NotebookNode", execute_reply: Mapping) -> None:
    """exit() lets the kernel go on for as long as it happens to, and its last answers may be lost."""
    if any(each.get("source") == "ask_exit" for each in execute_reply["content"].get("payload", ())):
        raise RuntimeError(f"{_place(chapter, cell)}: the cell ends the kernel; a chapter ends with its last cell")


def _check_ended(chapter: Chapter, done: "NotebookNode") -> None:
    """Every cell must have run to its end: papermill takes sys.exit(0) for a good end of all, and so cells are left."""
    cells = [cell for cell in done.cells if cell.cell_type == "code"]
    bad = [cell for cell in cells if not _ended(cell)]
    if bad:
        left = sum(cell.metadata["papermill"]["status"] == "pending" for cell in cells)
        said = next((f" by {o.ename}" for o in bad[0].outputs if o.output_type == "error"), "")
        rest = f", and {left} after it did not run" if left else ""
        raise RuntimeError(
            f"{_place(chapter, bad[0])}: the cell was ended{said}{rest}; a chapter ends with its last cell"
        )


def _ended(cell: "NotebookNode") -> bool:
    nothing = not cell.source.strip() or "skip-execution" in cell.metadata.get("tags", ())
    whole = cell.metadata["papermill"]["status"] == "completed" and (nothing or cell.execution_count is not None)
    return whole and all(output.output_type != "error" for output in cell.outputs)


def _place(chapter: Chapter, cell: "NotebookNode") -> str:
    line = next((line for line, (source, _) in zip(chapter.lines, chapter.code) if source == cell.source), 1)
    return f"{chapter.path.relative_to(chapter.root).as_posix()}:{line}"


@contextlib.contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables, and puts all of them back as they were."""
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
