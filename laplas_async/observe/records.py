"""What one call did, as plain frozen data: durations, tokens, cost, and how it ended.

Durations are seconds on the monotonic clock; only ``started`` is wall-clock time, seconds since the
epoch. A record never holds message content or the key (law 7). It refuses to measure anything:
``trace`` does.
"""

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from laplas_async.pacing.price import CostSource
from laplas_async.types import Attempt, Cost, Labels, Usage

Outcome = Literal["ok", "error", "truncated", "abandoned", "cancelled", "not_admitted"]
"""How a call ended.

``truncated``: a stream broke off; ``abandoned``: the caller left a stream before its end;
``not_admitted``: the gate or the budget let no attempt through.
"""

GAP_BOUNDS = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
"""Upper bounds in seconds of the buckets that count the gaps between chunks; the last is open.

They are those of the histogram of OpenTelemetry's GenAI conventions (test_genai)."""


@frozen
class AttemptRecord:
    """One attempt of a call: ``attempt`` is what the caller sees, with the times taken apart.

    ``backoff`` and ``gate_wait`` (for a budget, too) are the seconds before it was sent,
    ``duration`` those from then to its end. ``reserved_tokens``: at the gate. ``rejected``: by a
    rate limit.
    ``error_type`` is the class of its error; its message is in ``attempt.error``.
    """

    number: int
    attempt: Attempt
    backoff: float = 0.0
    gate_wait: float = 0.0
    duration: float = 0.0
    reserved_tokens: int = 0
    rejected: bool = False
    error_type: str | None = None


@frozen
class CallRecord:
    """One call, from the moment it was made; what is not known (yet) is None.

    ``call_started`` receives it with the fields up to ``started``, ``call_ended`` complete.
    ``parameters`` are the request's numbers and switches: nothing that could hold content.
    ``gate_wait`` and ``backoff`` are sums over the attempts, with a wait that was given up.
    ``time_to_first_chunk``, ``time_to_first_content`` and ``time_to_last_content`` of a stream
    count from the moment the last attempt was sent; a chunk with a role alone is no content.
    ``gaps`` counts the pauses between chunks by ``GAP_BOUNDS``, as the stream was read: a slow
    reader's pauses are among them; ``gap_seconds`` are the sums of each. ``usage`` and ``cost`` are
    None if the service reported none; ``cost_usd`` is the reported cost, else that by the price of
    the call's budget, else None.
    """

    id: str
    model: str
    server: str
    port: int | None
    streaming: bool
    labels: Labels = field(factory=dict)
    parameters: Mapping[str, Any] = field(factory=dict)
    started: float = 0.0

    attempts: tuple[AttemptRecord, ...] = ()
    duration: float | None = None
    gate_wait: float = 0.0
    backoff: float = 0.0
    time_to_first_chunk: float | None = None
    time_to_first_content: float | None = None
    time_to_last_content: float | None = None
    chunks: int = 0
    gaps: tuple[int, ...] = (0,) * (len(GAP_BOUNDS) + 1)
    gap_seconds: tuple[float, ...] = (0.0,) * (len(GAP_BOUNDS) + 1)
    response_id: str | None = None
    response_model: str | None = None
    request_id: str | None = None
    finish_reasons: tuple[str, ...] = ()
    usage: Usage | None = None
    cost: Cost | None = None
    cost_usd: float | None = None
    cost_source: CostSource | None = None
    error_type: str | None = None
    error: str | None = None
    outcome: Outcome | None = None

    @property
    def may_be_billed(self) -> bool:
        """Whether an attempt without a complete response may have been charged for."""
        return any(record.attempt.may_be_billed for record in self.attempts)
