"""How long a call waits for each of its phases."""

from attrs import frozen

from laplas_async.errors import ConfigError


@frozen
class Timeouts:
    """How long to wait, in seconds; each more than 0, None for no bound.

    ``connect``: name look-up, TCP and TLS. ``first_token`` (streams): from sending until the first
    content. ``idle`` (streams): since the last content, while the reader waits; heartbeats and
    empty deltas do not count; it is told up to an eighth later, never earlier. ``total``: one try
    from sending to its end; "auto" is 600 for a plain call and no bound for a stream. To bound a
    call with all its tries and waits, use ``asyncio.timeout``.
    """

    connect: float | None = 10.0
    first_token: float | None = 120.0
    idle: float | None = 120.0
    total: float | str | None = "auto"

    def __attrs_post_init__(self) -> None:
        for name in ("connect", "first_token", "idle", "total"):
            value = getattr(self, name)
            if value is None or (name == "total" and value == "auto"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigError(
                    f"Timeouts.{name}={value!r}: must be seconds, more than 0, or None"
                )

    def total_for(self, *, stream: bool) -> float | None:
        """``total`` in seconds for one kind of call, None for no bound."""
        if isinstance(self.total, str):
            return None if stream else 600.0
        return self.total
