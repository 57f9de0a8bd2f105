"""Who may go when, and who may go again: the gate, what a rejection teaches it, and retries."""
