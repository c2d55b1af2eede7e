"""From windows as bytes to scores: which tokens to run, in which batches, and the read-outs."""
