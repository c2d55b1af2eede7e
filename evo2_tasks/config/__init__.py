"""The config: its keys, reading it, and the settings that each step gets."""
