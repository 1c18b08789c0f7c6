"""Backends of inference. A backend is a module with two functions, `infer` and `posterior_sample`.

Messages travel as tensors of shape (nodes, symbols, batch), the batch innermost in memory. A backend returns
what it computed and, for a datum whose evidence the grammar cannot produce, log evidence -inf; `hierlib.inference`
turns that into an error, so that no NaN leaves the library.
"""
