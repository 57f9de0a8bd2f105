"""JSONL in and out, over a journal that survives kill -9: ``run_batch``."""
