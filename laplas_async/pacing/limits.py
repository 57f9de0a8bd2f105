"""What the user configures about the service's limits. It enforces nothing: ``ledger`` does."""

from attrs import frozen

from laplas_async.errors import ConfigError


@frozen
class Limits:
    """What is known of the service's limits; None where nothing is.

    ``concurrency``: requests in flight at once; a stream counts until it ends.
    ``requests_per_minute`` and ``tokens_per_minute`` hold in any window of 60 s. ``adaptive``:
    learn from rejections, below what is configured; with False a rejection only delays the request
    that met it. ``max_wait``: seconds a call waits for its turn before it fails; None: as long as
    it takes.
    """

    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    adaptive: bool = True
    max_wait: float | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("concurrency", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(
                    f"Limits.{name}={value!r}: must be an integer, at least 1, or None"
                )
        wait = self.max_wait
        if wait is not None and not (type(wait) in (int, float) and wait >= 0):
            raise ConfigError(f"Limits.max_wait={wait!r}: must be seconds, at least 0, or None")
