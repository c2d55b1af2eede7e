"""What scores are worth on labelled variants. Knows no torch and no Snakemake."""
