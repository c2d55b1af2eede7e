"""The HTML report of a variant set. Imports no torch and no Snakemake."""
