"""The CPU backend: lays out work for `hierlib._kernels.compiled.causal`."""

from __future__ import annotations

from torch import Tensor

from hierlib._kernels import memory
from hierlib._kernels.compiled.causal import run_causal
from hierlib._kernels.cpu import _Addresses, _in_threads, _Job, _Part, _Wanted
from hierlib.grammar import Grammar


def next_leaf(g: Grammar, evidence: Tensor, class_prior: Tensor) -> tuple[Tensor, Tensor]:
    """Each leaf given those to its left; the contract is that of `hierlib._kernels.causal.torch.next_leaf`."""
    job, at = _Job(g, evidence.dtype, class_prior, evidence=evidence), _Addresses()
    size = g.d * g.v * job.row
    memory.demand(size * evidence.element_size() // job.n, job.n, 0, evidence.device)
    told = memory.empty((size,), evidence.dtype).as_strided((job.n, g.d, g.v), (1, g.v * job.row, job.row))
    log_evidence = job.empty_log_evidence()
    io = job.data(at, _Wanted(), log_evidence)._replace(down=at([told, *[None] * g.L]))

    def work(part: _Part, ws: int) -> None:
        run_causal(job.real, part.begin, part.end, part.data, ws, part.tree, io)

    _in_threads(work, job.parts(True), 0)
    return told, log_evidence
