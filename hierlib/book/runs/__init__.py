"""How chapters and quantities are run: parameters, keys, runs, sweeps, what is collected from them."""
