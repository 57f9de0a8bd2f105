"""``openai.lib.streaming``."""
