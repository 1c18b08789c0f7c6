"""What is measured on drawn grammars: U-turns, messages, changes, spectra, and the statistics of curves."""
