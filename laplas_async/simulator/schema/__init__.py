"""JSON schemas: validate a value, generate one, and the regular expressions they use."""
