"""``Timeouts``: how long each phase of a call may take.

Pure values. It refuses to measure time (``calls`` and ``streaming.watchdog`` do).
"""

from attrs import frozen

from laplas_async.errors import ConfigError


@frozen
class Timeouts:
    """How long to wait, in seconds; each more than 0, None for no bound.

    ``connect``: name look-up, TCP and TLS. ``first_token`` (streams): from sending until the first
    content. ``idle`` (streams): since the last content, while the reader waits; heartbeats and
    empty deltas do not count; raised up to an eighth later, never earlier. ``total``: one attempt
    from sending to its end; "auto" is 600 for a plain call and no bound for a stream. To bound a
    call with all its attempts and delays, use ``asyncio.timeout``. Raises ``ConfigError``.
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
        """Return ``total`` in seconds for one kind of call, None for no bound."""
        if isinstance(self.total, str):
            # 600: what openai-python uses, and more than any plain completion takes. A stream may
            # run for hours; its idle timeout detects one that is stuck.
            return None if stream else 600.0
        return self.total
