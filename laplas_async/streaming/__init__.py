"""A streamed response: from bytes to chunks, and whether it came whole."""
