"""The page about a variant set: what was run, what came out, and what it is worth."""
