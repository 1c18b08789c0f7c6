"""Backends of `hierlib.autoregression`: a module each, named like those of `hierlib._kernels`, with `next_leaf`.

Upward messages are those of belief propagation. On the way down a child is told what its parent has heard, and what its
left siblings say; the others are not seen yet and sum out. So one pass gives what each leaf is expected to be.
"""
