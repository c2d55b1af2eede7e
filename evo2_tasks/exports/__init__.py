"""The table in other formats, one file for each."""
