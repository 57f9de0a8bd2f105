"""What happened during a call, as one record passed to a listener."""
