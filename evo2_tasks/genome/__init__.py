"""Variants as files spell them, the reference that they change, and the windows to score."""
