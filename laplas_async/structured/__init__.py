"""Typed output: classes to JSON schemas, and a model's text to checked objects; pure."""
