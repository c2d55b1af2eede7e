"""Files, text lines, digests, words for messages, progress and interruption."""
