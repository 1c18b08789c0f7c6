"""Backends of inference: a module each, with the functions `infer`, `class_posterior` and `posterior_sample`, and
`epsilon_overlap` where it is more than these.

Evidence comes as (leaves, v, batch) and beliefs go as users see them, (batch, nodes, symbols), all with the batch
innermost in memory. A backend returns what it computed and each datum's log evidence: -inf where the grammar cannot
produce the evidence, NaN where the evidence is negative or not finite. `hierlib.inference` turns these into errors,
so that no NaN leaves the library.
"""
