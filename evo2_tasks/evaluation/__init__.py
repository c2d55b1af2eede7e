"""How well scores separate labelled variants. Imports no torch and no Snakemake."""
