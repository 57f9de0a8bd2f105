"""One request of the chat API, from its arrival to its end.

With `app` the only place in the simulator that waits. It refuses to decide: checks, limits,
answers, faults and bytes come from their own modules. It logs nothing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web
from attrs import frozen

from laplas_async.simulator.answers import answer
from laplas_async.simulator.counters import Outcome, Seen, Tally
from laplas_async.simulator.delivery import Delivery, Letterhead, delivery, refusal
from laplas_async.simulator.faults import Choose, Fault, Script
from laplas_async.simulator.limits import Turnstile, Verdict
from laplas_async.simulator.pace import Beat, Pace
from laplas_async.simulator.validation import faults_of

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

CHAT: Final = "/v1/chat/completions"
MODELS: Final = "/v1/models"
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)

Write = Callable[[bytes], Awaitable[None]]


@frozen(kw_only=True)
class Terms:
    """How the service answers: what does not change while it runs."""

    api_key: str | None
    status: int
    pace: Pace
    costs: bool


@frozen(kw_only=True)
class Desk:
    """What all visits share."""

    terms: Terms
    tally: Tally
    script: Script
    turnstile: Turnstile


class Visit:
    """One request from its arrival to its end."""

    def __init__(self, desk: Desk, request: web.BaseRequest) -> None:
        self.desk = desk
        self.request = request
        self.tally = desk.tally
        self.is_chat = request.path.rstrip("/") == CHAT and request.method == "POST"
        # All that depends on the order of arrival is done here, before anything waits.
        self.seen: Seen = self.tally.arrive(
            request.method, request.path, request.headers, time.monotonic()
        )
        self.entry: Fault | Choose | None = desk.script.take() if self.is_chat else None
        self.admitted = False
        self.verdict: Verdict | None = None
        self.head = Letterhead(
            path=request.path,
            request_id=f"00000000-0000-4000-8000-{self.seen.number:012x}",
            timestamp=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        )
        self.may_enter = self._knows_key()
        if self.is_chat and self.may_enter:
            self.verdict = desk.turnstile.admit(time.monotonic())
            self.admitted = self.verdict.admitted

    async def serve(self) -> web.StreamResponse:
        """Answer; being cancelled is the client that left, and ends the request."""
        try:
            made, outcome = await self._decide()
            return await self._deliver(made, outcome)
        except ConnectionError:
            self._end("abandoned", None)
            return _Nothing()
        finally:
            # A cancelled handler is a client that went away, or a simulator that stops.
            self._end("abandoned", None)

    def _knows_key(self) -> bool:
        scheme, _, key = self.request.headers.get("Authorization", "").partition(" ")
        expected = self.desk.terms.api_key
        if scheme.lower() != "bearer" or not key.strip():
            return False
        return expected is None or compare_digest(
            key.strip().encode(errors="surrogateescape"), expected.encode()
        )

    async def _decide(self) -> tuple[Delivery, Outcome]:
        """Return what to send: the checks in the service's order, then fault and answer."""
        expects = self.request.headers.get("Expect", "").lower() == "100-continue"
        if expects and (transport := self.request.transport) is not None:
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            data = await self.request.read()
        except web.HTTPRequestEntityTooLarge:
            return refusal(413, self.head.error(413)), "refused"
        body = _json(data)
        self.seen.body = body if isinstance(body, dict) else {}
        verdict = self.verdict
        if verdict is not None and not verdict.admitted:
            return refusal(429, self.head.error(429), verdict.headers), "rejected"
        if (refused := self._refused(body)) is not None:
            return refused, "refused"
        entry = self.entry
        fault = entry(self.seen.body, self.seen.number) if callable(entry) else entry
        try:
            return self._answered(self.seen.body, fault), "faulted" if fault else "answered"
        except ValueError as error:
            errors = [{"path": [], "message": str(error)}]
            return refusal(400, self.head.error(400, errors=errors)), "refused"

    def _refused(self, body: object) -> Delivery | None:
        request, head = self.request, self.head
        if not self.is_chat:
            known = request.path.rstrip("/") in (CHAT, MODELS)
            status = 405 if known else 404
            words = f"Cannot {request.method} {request.path}"
            return refusal(status, head.error(status, words))
        if not self.may_enter:
            return refusal(401, head.error(401))
        errors = self._errors(body)
        return refusal(400, head.error(400, errors=errors)) if errors else None

    def _errors(self, body: object) -> list[dict[str, Any]]:
        if "json" not in self.request.headers.get("Content-Type", ""):
            return [{"path": [], "message": "Content-Type must be application/json"}]
        return faults_of(body)

    def _answered(self, body: dict[str, Any], fault: Fault | None) -> Delivery:
        terms = self.desk.terms
        stream = bool(body.get("stream"))
        made = delivery(
            answer(body, costs=terms.costs),
            fault,
            self.head,
            stream=stream,
            include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            status=terms.status,
        )
        if stream:
            self.tally.write(self.seen, streams=1)
        return made

    async def _deliver(self, made: Delivery, outcome: Outcome) -> web.StreamResponse:
        if made.drop:
            self._end(outcome, None)
            self._close()
            return _Nothing()
        beat = self.desk.terms.pace.beat(self.seen.number)
        wait = made.delay + (beat.whole(made.tokens) if made.tokens else 0.0)
        if wait > 0:
            await asyncio.sleep(wait)
        headers = {"x-request-id": self.head.request_id, **made.headers}
        if self.verdict is not None:
            headers = {**self.verdict.headers, **headers}
        self.seen.status = made.status
        if made.framing == "http10":
            return await self._deliver_http10(made, outcome, headers, beat)
        if made.end == "clean" and made.framing == "length" and len(made.pieces) == 1:
            return await self._deliver_at_once(made, outcome, headers)
        response = web.StreamResponse(status=made.status, headers=headers)
        await response.prepare(self.request)
        await self._write(made, outcome, beat, response.write)
        if made.end != "clean":
            await self._finish_badly(made, outcome, response.write)
            return _Nothing()
        self._end(outcome, made.status)
        await response.write_eof()
        return response

    async def _deliver_at_once(
        self, made: Delivery, outcome: Outcome, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.Response(status=made.status, headers=headers, body=made.pieces[0][0])
        # The request is over before its last bytes leave, so that a client who has them may
        # send the next one at once, and a test may ask for the counts.
        self._wrote(chunks=0, tokens=made.tokens)
        self._end(outcome, made.status)
        await response.prepare(self.request)
        await response.write_eof()
        return response

    async def _write(self, made: Delivery, outcome: Outcome, beat: Beat, write: Write) -> None:
        """Write the pieces, each when it is due."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        last = len(made.pieces) - 1
        counted = 0
        unhurried = made.paced and (beat.first_token > 0 or beat.tokens_per_second is not None)
        for at, (data, chunks) in enumerate(made.pieces):
            if chunks and unhurried:
                wait = start + beat.due(counted) - loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
            elif at % made.breath == made.breath - 1:
                # Without a pace nothing makes the writer wait, so it lets others run.
                await asyncio.sleep(0)
            if chunks:
                counted += chunks
                self._wrote(chunks=chunks, tokens=chunks)
            if at == last and made.end == "clean":
                self._end(outcome, made.status)
            await write(data)

    async def _finish_badly(self, made: Delivery, outcome: Outcome, write: Write) -> None:
        if made.end == "cut":
            self._end(outcome, made.status)
            self._close()
        elif made.end == "reset":
            self._end(outcome, made.status)
            self._reset()
        else:
            if made.end == "open":  # All was said; that the client leaves is no abandoning.
                self.tally.end(self.seen, outcome, status=made.status, now=time.monotonic())
            while made.heartbeat is not None:
                await write(made.heartbeat)
                await asyncio.sleep(made.interval)
            await asyncio.get_running_loop().create_future()

    async def _deliver_http10(
        self, made: Delivery, outcome: Outcome, headers: dict[str, str], beat: Beat
    ) -> web.StreamResponse:
        # aiohttp answers in the version it was asked in, so this is written by hand.
        transport = self.request.transport
        if transport is None:
            raise ConnectionResetError
        told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        transport.write(f"HTTP/1.0 {made.status} OK\r\n{told}\r\n".encode("latin-1"))

        async def write(data: bytes) -> None:
            transport.write(data)

        await self._write(made, outcome, beat, write)
        self._end(outcome, made.status)
        transport.close()
        return _Nothing()

    def _close(self) -> None:
        if (transport := self.request.transport) is not None:
            transport.close()

    def _reset(self) -> None:
        transport = self.request.transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        transport.abort()

    def _wrote(self, *, chunks: int, tokens: int) -> None:
        self.tally.write(self.seen, chunks=chunks, tokens=tokens)

    def _end(self, outcome: Outcome, status: int | None) -> None:
        """End the request, once: the turnstile and the counts are freed together."""
        if self.admitted:
            self.admitted = False
            self.desk.turnstile.leave()
        if status is None:
            status = self.seen.status
        self.tally.end(self.seen, outcome, status=status, now=time.monotonic())


class _Nothing(web.Response):
    """A response that writes nothing: for connections that were closed by hand."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        pass


def _json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
