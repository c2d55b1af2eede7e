"""Files, digests, bgzip, text lines, VCF text, messages, progress and interruption."""
