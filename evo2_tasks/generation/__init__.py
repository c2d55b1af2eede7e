"""New DNA from a prompt: sampling, and search that scorers guide."""
