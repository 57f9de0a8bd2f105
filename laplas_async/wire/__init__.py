"""The wire format: bytes to events, events to values. No asyncio, no clock, no sockets."""
