"""The wire: bytes to events, events to values, chunks to completions. No asyncio, no clock."""
