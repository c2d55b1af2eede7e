"""Open what a step needs on this machine: models, devices, variants, references."""
