"""How the site is built from what was run: Sphinx, the ledger, the PDF."""
