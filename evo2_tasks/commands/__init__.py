"""One file for each command that is no step of the workflow."""
