"""What can be said without drawing a grammar: the paper's mean field, density evolution, exponents."""
