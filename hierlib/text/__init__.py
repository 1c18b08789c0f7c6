"""Masked diffusion on text: a small language model, its U-turns, and how the words that change go together."""
