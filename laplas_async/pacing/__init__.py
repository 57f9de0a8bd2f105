"""When the next request may go: the queue, the limiter, and the configured limits."""
