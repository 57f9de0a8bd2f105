"""``PreparedCall``: a checked and encoded request, and the settings of every attempt at it.

It refuses to decide when and how often it is attempted (``retrying`` does).
"""

from collections.abc import Mapping

from attrs import define

from laplas_async.calls.attempt import complete, open_stream
from laplas_async.calls.policy import RetryPolicy
from laplas_async.calls.retrying import AttemptContext
from laplas_async.http.transport import Transport
from laplas_async.pacing.reservation import RequestSize
from laplas_async.streaming.reader import StreamReader
from laplas_async.timeouts import Timeouts
from laplas_async.types import ChatCompletion


@define
class PreparedCall:
    """What each attempt of one call sends, and with which settings."""

    transport: Transport
    body: bytes
    size: RequestSize
    timeouts: Timeouts
    retry: RetryPolicy
    headers: Mapping[str, str]
    query: Mapping[str, str] | None

    async def complete(self, attempt: AttemptContext) -> ChatCompletion:
        """Attempt it once, and read the completion. Cancelling it closes the connection."""
        return await complete(
            self.transport,
            attempt,
            self.body,
            self.timeouts,
            headers=self.headers,
            query=self.query,
        )

    async def open_stream(self, attempt: AttemptContext) -> StreamReader:
        """Attempt it once; return when the first content has been received, or the end."""
        return await open_stream(
            self.transport,
            attempt,
            self.body,
            self.timeouts,
            headers=self.headers,
            choices=self.size.choices,
            query=self.query,
        )
