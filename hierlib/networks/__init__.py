"""What is learnt from strings of a grammar: classifiers and denoisers, their training, and probes of their layers."""
