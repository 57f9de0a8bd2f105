"""``openai.lib``: what programs import of it."""
