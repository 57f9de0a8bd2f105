"""HTTP: the only use of aiohttp's client, and the checks on URL, headers, key and TLS."""
