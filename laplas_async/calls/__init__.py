"""One call: its attempts, its retries, and many calls at once."""
