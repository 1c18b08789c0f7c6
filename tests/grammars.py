"""Drawn grammars with all corners: s = 2…5, m = 1, m = v^(s-1), L = 1, num_classes ≠ v."""

import torch
from hypothesis import strategies as st

import hierlib as hl
from hierlib.enumeration import data_per_class


@st.composite
def grammars(draw, max_data=3000):
    """Small grammars, with few enough data that all can be listed."""
    s = draw(st.integers(2, 5))
    L = draw(st.integers(1, {2: 3, 3: 2, 4: 2, 5: 1}[s]))
    v = draw(st.integers(2, {2: 5, 3: 3, 4: 2, 5: 2}[s]))
    largest = max(m for m in range(1, v ** (s - 1) + 1) if v * data_per_class(m, s, L) <= max_data)
    m = draw(st.one_of(st.just(1), st.just(largest), st.integers(1, largest)))
    num_classes = draw(st.integers(1, min(v**s // m, v + 2)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return hl.random_grammar(v=v, m=m, s=s, L=L, num_classes=num_classes, generator=generator)
