"""One file for each step of the workflow: paths and settings in, paths out."""
