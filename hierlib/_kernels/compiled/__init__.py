"""The loops that numba compiles for the processor: layout, vectors, tiles, sampling, noise."""
