"""One request of the chat API, from its arrival to its end.

Together with ``app`` the only place in the simulator that waits. It refuses to decide: validation,
limits, answers, faults and bytes come from their own modules. It logs nothing.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from attrs import field, frozen

from laplas_async.simulator import catalog
from laplas_async.simulator.answers import DEFAULT_MAX_TOKENS, Answer, make_answer
from laplas_async.simulator.counters import Counters, Outcome, Seen
from laplas_async.simulator.delivery import Delivery, make_delivery, make_refusal
from laplas_async.simulator.error_bodies import ErrorContext
from laplas_async.simulator.faults import Fault
from laplas_async.simulator.limiter import Admission, RequestLimiter
from laplas_async.simulator.script import FaultRule, Script
from laplas_async.simulator.timing import Schedule, Timing
from laplas_async.simulator.validation import validation_errors

CHAT: Final = "/v1/chat/completions"
MODELS: Final = "/v1/models"
# SO_LINGER with a timeout of zero: closing the socket sends a TCP reset instead of a FIN.
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)

Write = Callable[[bytes], Awaitable[None]]


@frozen(kw_only=True)
class ServerSettings:
    """How the server responds: what does not change while it runs."""

    api_key: str | None
    status: int
    timing: Timing
    costs: bool
    models: Any = field(factory=catalog.models)
    balance: float = 1_000_000


@frozen(kw_only=True)
class ServerState:
    """What all requests share."""

    settings: ServerSettings
    counters: Counters
    script: Script
    limiter: RequestLimiter
    clock: Callable[[], float] = time.monotonic


def has_valid_key(request: web.BaseRequest, expected: str | None) -> bool:
    """Return whether a request has the key; None: any that is not empty."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        return False
    return expected is None or compare_digest(
        key.strip().encode(errors="surrogateescape"), expected.encode()
    )


class RequestHandler:
    """Handles one request from its arrival to its end."""

    def __init__(self, state: ServerState, request: web.BaseRequest) -> None:
        self.state = state
        self.request = request
        self.is_chat = request.path.rstrip("/") == CHAT and request.method == "POST"
        # Everything that depends on the order of arrival happens here, before anything waits.
        self.seen: Seen = state.counters.arrive(
            request.method, request.path, request.headers, state.clock()
        )
        self.entry: Fault | FaultRule | None = state.script.take() if self.is_chat else None
        self.admission: Admission | None = None
        self.holds_place = False
        self.context = ErrorContext.of_request(request.path, self.seen.number)
        self.has_valid_key = has_valid_key(request, state.settings.api_key)
        # A limit that counts tokens has to read the body first.
        if self.is_chat and self.has_valid_key and state.limiter.charge is None:
            self._admit(tokens=0)

    async def serve(self) -> web.StreamResponse:
        """Respond. Cancelling it (the client disconnected) ends the request as abandoned."""
        try:
            delivery, outcome = await self._decide()
            return await self._deliver(delivery, outcome)
        except ConnectionError:
            return _NoResponse()
        finally:
            # Does nothing after a regular end. Otherwise the client disconnected, or the simulator
            # stops, which cancels the handler.
            self._end("abandoned", None)

    def _admit(self, *, tokens: int) -> None:
        self.admission = self.state.limiter.admit(self.state.clock(), tokens=tokens)
        self.holds_place = self.admission.admitted

    async def _decide(self) -> tuple[Delivery, Outcome]:
        """Return what to send: checks in the service's order, then the fault and the answer."""
        expects = self.request.headers.get("Expect", "").lower() == "100-continue"
        if expects and (transport := self.request.transport) is not None:
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            data = await self.request.read()
        except web.HTTPRequestEntityTooLarge:
            return make_refusal(413, self.context.body(413)), "refused"
        body = _parse_json(data)
        self.seen.body = body if isinstance(body, dict) else {}
        if self.admission is not None and not self.admission.admitted:
            return self._reject(self.admission), "rejected"
        if (refusal := self._check_request(body)) is not None:
            return refusal, "refused"
        entry = self.entry
        fault = entry(self.seen.body, self.seen.number) if callable(entry) else entry
        try:
            answer = make_answer(self.seen.body, costs=self.state.settings.costs)
            if self.admission is None:
                self._admit(tokens=self._charge(answer))
                if self.admission is not None and not self.admission.admitted:
                    return self._reject(self.admission), "rejected"
            return self._make_delivery(answer, fault), "faulted" if fault else "answered"
        except ValueError as error:
            errors = [{"path": [], "message": str(error)}]
            return make_refusal(400, self.context.body(400, errors=errors)), "refused"

    def _check_request(self, body: object) -> Delivery | None:
        request = self.request
        if not self.is_chat:
            exists = request.path.rstrip("/") in (CHAT, MODELS)
            status = 405 if exists else 404
            message = f"Cannot {request.method} {request.path}"
            return make_refusal(status, self.context.body(status, message))
        if not self.has_valid_key:
            return make_refusal(401, self.context.body(401))
        errors = self._body_errors(body)
        return make_refusal(400, self.context.body(400, errors=errors)) if errors else None

    def _body_errors(self, body: object) -> list[dict[str, Any]]:
        if "json" not in self.request.headers.get("Content-Type", ""):
            return [{"path": [], "message": "Content-Type must be application/json"}]
        return validation_errors(body)

    def _reject(self, admission: Admission) -> Delivery:
        return make_refusal(429, self.context.body(429), admission.headers)

    def _charge(self, answer: Answer) -> int:
        """Return the tokens that a limit counts for this request."""
        if self.state.limiter.charge == "used":
            return answer.prompt_tokens + answer.completion_tokens
        requested = int(self.seen.body.get("max_tokens") or DEFAULT_MAX_TOKENS)
        return answer.prompt_tokens + requested * len(answer.choices)

    def _make_delivery(self, answer: Answer, fault: Fault | None) -> Delivery:
        body = self.seen.body
        delivery = make_delivery(
            answer,
            fault,
            self.context,
            stream=body.get("stream"),
            include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            status=self.state.settings.status,
        )
        if body.get("stream") or delivery.paced:
            self.state.counters.write(self.seen, streams=1)
        return delivery

    async def _deliver(self, delivery: Delivery, outcome: Outcome) -> web.StreamResponse:
        if delivery.drop:
            self._end(outcome, None)
            self._close()
            return _NoResponse()
        schedule = self.state.settings.timing.schedule(self.seen.number)
        delay = delivery.delay + (schedule.whole(delivery.tokens) if delivery.tokens else 0.0)
        if delay > 0:
            await asyncio.sleep(delay)
        headers = {"x-request-id": self.context.request_id, **delivery.headers}
        if self.admission is not None:
            headers = {**self.admission.headers, **headers}
        self.seen.status = delivery.status
        if delivery.framing in ("http10", "verbatim"):
            return await self._deliver_by_hand(delivery, outcome, headers, schedule)
        if delivery.end == "clean" and delivery.framing == "length" and len(delivery.pieces) == 1:
            return await self._deliver_whole(delivery, outcome, headers)
        response = web.StreamResponse(status=delivery.status, headers=headers)
        await response.prepare(self.request)
        await self._write(delivery, outcome, schedule, response.write)
        if delivery.end != "clean":
            await self._end_abnormally(delivery, outcome, response.write)
            return _NoResponse()
        self._end(outcome, delivery.status)
        await response.write_eof()
        return response

    async def _deliver_whole(
        self, delivery: Delivery, outcome: Outcome, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.Response(status=delivery.status, headers=headers, body=delivery.pieces[0][0])
        # The request ends before its last bytes are sent, so that a client that has received them
        # may send the next request, or a test read the counts, without a race.
        self.state.counters.write(self.seen, tokens=delivery.tokens)
        self._end(outcome, delivery.status)
        await response.prepare(self.request)
        await response.write_eof()
        return response

    async def _write(
        self, delivery: Delivery, outcome: Outcome, schedule: Schedule, write: Write
    ) -> None:
        """Write the pieces, each when it is due."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        last = len(delivery.pieces) - 1
        written = 0
        timed = delivery.paced and (
            schedule.first_token > 0 or schedule.tokens_per_second is not None
        )
        for at, (data, chunks) in enumerate(delivery.pieces):
            if chunks and delivery.pause > 0 and written == delivery.pause_before:
                await asyncio.sleep(delivery.pause)
            if chunks and timed:
                delay = start + schedule.due(written) - loop.time()
                if delay > 0:
                    await asyncio.sleep(delay)
            elif at % delivery.yield_every == delivery.yield_every - 1:
                # Without delays nothing else makes this task wait, so it lets others run.
                await asyncio.sleep(0)
            if chunks:
                written += chunks
                self.state.counters.write(self.seen, chunks=chunks, tokens=chunks)
            if at == last and delivery.end == "clean":
                self._end(outcome, delivery.status)
            await write(data)

    async def _end_abnormally(self, delivery: Delivery, outcome: Outcome, write: Write) -> None:
        if delivery.end == "cut":
            self._end(outcome, delivery.status)
            self._close()
        elif delivery.end == "reset":
            self._end(outcome, delivery.status)
            self._reset()
        else:
            if delivery.end == "open":
                # Everything was sent, so a client that disconnects now abandons nothing; but its
                # place under a concurrency limit is taken until it does.
                self.state.counters.end(
                    self.seen, outcome, status=delivery.status, now=self.state.clock()
                )
            while delivery.heartbeat is not None:
                await write(delivery.heartbeat)
                await asyncio.sleep(delivery.interval)
            await asyncio.get_running_loop().create_future()

    async def _deliver_by_hand(
        self, delivery: Delivery, outcome: Outcome, headers: dict[str, str], schedule: Schedule
    ) -> web.StreamResponse:
        """Write to the transport what aiohttp would not send: HTTP/1.0, or verbatim bytes."""
        transport = self.request.transport
        if transport is None:
            raise ConnectionResetError
        if delivery.framing == "http10":
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            transport.write(f"HTTP/1.0 {delivery.status} OK\r\n{lines}\r\n".encode("latin-1"))

        async def write(data: bytes) -> None:
            transport.write(data)

        await self._write(delivery, outcome, schedule, write)
        if delivery.end == "clean":
            self._end(outcome, delivery.status)
            transport.close()
        else:
            await self._end_abnormally(delivery, outcome, write)
        return _NoResponse()

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

    def _end(self, outcome: Outcome, status: int | None) -> None:
        """End the request, once: its place under the limit and the counts change together."""
        if self.holds_place:
            self.holds_place = False
            self.state.limiter.leave()
        if status is None:
            status = self.seen.status
        self.state.counters.end(self.seen, outcome, status=status, now=self.state.clock())


class _NoResponse(web.Response):
    """A response that writes nothing, for connections that were closed by hand."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        pass


def _parse_json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
