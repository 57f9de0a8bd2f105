"""The rows of a batch as ``Work`` for the scheduler: which row is next, its call, its result.

Everything happens in the event loop, in plain calls between awaits. It refuses to pace and to
retry (the client does), and to touch files (the reader's and the writer's threads do).
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define

from laplas_async.batch.journal import Journal
from laplas_async.batch.reader import Block
from laplas_async.batch.results import LearnedLimit, RowCost
from laplas_async.batch.rows import BadRow, Row
from laplas_async.batch.stats import RunStats
from laplas_async.batch.writer import Result, Saved, Writer
from laplas_async.calls.arguments import size_of
from laplas_async.client import LaplasClient
from laplas_async.errors import BudgetError, LaplasError
from laplas_async.pacing.price import Prices
from laplas_async.types import Attempt, ChatCompletion

# Bounds of memory (law 5), in bytes. Requests in flight hold their row, several times over while
# they are encoded; results wait here while the disk is slow. Both are reached only by large rows.
_MAX_IN_FLIGHT_BYTES = 64 * 1024 * 1024
_MAX_UNSAVED_BYTES = 16 * 1024 * 1024
# Seconds between two looks at the learned limit, which is written to a result line when it has
# changed: the report draws it over time.
_LIMIT_INTERVAL = 0.5
_LINE_BYTES = 600  # about what a result line takes beside its text


@define
class Output:
    """The opened output: its journal, and the writer that appends to it."""

    journal: Journal
    writer: Writer


class RowWork:
    """Rows that were read and are not yet started, and the calls that are made for them.

    ``settings`` are arguments of every call, ``prices`` what calls cost. ``release`` is called when
    a block of rows is used up; ``stop`` when no more rows are to be started. It has no room for
    rows until ``output`` is set.
    """

    def __init__(
        self,
        client: LaplasClient,
        stats: RunStats,
        *,
        stream: bool,
        settings: Mapping[str, Any] | None = None,
        prices: Prices | None = None,
        release: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        self.output: Output | None = None
        self.stopping = False
        self.is_read = False  # the input, to its end or as far as it will be
        self.rows: deque[Row | BadRow] = deque()
        self._client = client
        self._stats = stats
        self.unsent = 0  # rows for which the budget has no room
        self._settings = settings or {}
        self._prices = Prices() if prices is None else prices
        self._call = self._stream if stream else self._complete
        self._release = release
        self._stop = stop
        self._blocks: deque[int] = deque()  # how many rows of each block are left
        self._in_flight_bytes = 0
        self._unsaved_bytes = 0
        self._limit = LearnedLimit(None, 0)
        self._limit_due = 0.0

    def add(self, block: Block) -> None:
        """Rows that were read."""
        if self.output is not None:
            self.output.journal.in_flight.give_back(block.freed)
        if block.rows:
            self.rows.extend(block.rows)
            self._blocks.append(len(block.rows))
        else:
            self._release()

    def settle(self, saved: Saved) -> None:
        """Results are on disk: their memory and their slots are free."""
        self._unsaved_bytes -= saved.weight
        if self.output is not None:
            self.output.journal.in_flight.give_back(saved.slots)

    @property
    def has_rows(self) -> bool:
        """Whether rows are left that have no result."""
        return bool(self.rows or self.unsent)

    @property
    def exhausted(self) -> bool:
        """Whether no row will be started any more."""
        return self.is_read and (self.stopping or not self.rows)

    def take(self) -> Row | None:
        """The next row to send, recorded as in flight; bad rows on the way get their result."""
        while self.rows and self.output is not None and self._has_room(self.output.journal):
            row = self.rows.popleft()
            self._count_down()
            self._stats.rows.changed += row.changed
            if isinstance(row, Row):
                self._stats.rows.possibly_duplicated += row.possibly_duplicated
                if row.slot < 0:
                    row.slot = self.output.journal.in_flight.take(row.key)
                return row
            self._stats.add_bad_row()
            self._save(Result(row, weight=_LINE_BYTES))
        return None

    async def run(self, item: Row) -> None:
        """Make the call for a row, and have its result saved."""
        self._in_flight_bytes += item.size
        try:
            result = await self._call(item)
        except BudgetError as error:
            self._leave(item, error)
            return
        except LaplasError as error:
            spent = self._cost(item, None, error.attempts)
            self._stats.add_failure(error, spent)
            latency = _since_start(error.attempts)
            result = Result(item, error=error, latency=latency, weight=_LINE_BYTES, spent=spent)
        finally:
            self._in_flight_bytes -= item.size
        self._save(result)

    def _leave(self, row: Row, error: BudgetError) -> None:
        """The budget has no room for it: that is no result, and another run sends it."""
        self.unsent += 1
        in_flight = None if self.output is None else self.output.journal.in_flight
        nothing_sent = not any(attempt.may_be_billed for attempt in error.attempts)
        if in_flight is not None and nothing_sent and not row.possibly_duplicated:
            in_flight.clear((row.slot,))
            in_flight.give_back((row.slot,))
        self._stats.add_unsent(error, self._cost(row, None, error.attempts))
        if not self.stopping:
            self._stop()

    def _cost(
        self, row: Row, completion: ChatCompletion | None, attempts: tuple[Attempt, ...]
    ) -> RowCost:
        """What a row cost, and what its failed attempts may have cost."""
        model = row.fields["model"]
        usage = None if completion is None else completion.usage
        cost = None if completion is None else completion.cost
        known = self._prices.cost(model, usage, cost)
        billed = sum(attempt.may_be_billed for attempt in attempts)
        price = self._prices.of(model) if billed else None
        most = 0.0 if price is None else price.worst_case(size_of(row.size, row.fields, None))
        usd, source = (None, None) if known is None else known
        return RowCost(usd, source, billed * most)

    def _has_room(self, journal: Journal) -> bool:
        return (
            not self.stopping
            and journal.in_flight.has_room
            and self._in_flight_bytes < _MAX_IN_FLIGHT_BYTES
            and self._unsaved_bytes < _MAX_UNSAVED_BYTES
        )

    def _count_down(self) -> None:
        self._blocks[0] -= 1
        if not self._blocks[0]:
            self._blocks.popleft()
            self._release()

    async def _complete(self, row: Row) -> Result:
        completion = await self._client.complete(**row.fields, **self._settings)
        return self._completed(row, completion, None)

    async def _stream(self, row: Row) -> Result:
        async with self._client.stream(**row.fields, **self._settings) as stream:
            first = time.time()
            completion = await stream.completion()
        attempts = completion.attempts
        first_token = max(0.0, first - attempts[-1].started) if attempts else None
        return self._completed(row, completion, first_token)

    def _completed(self, row: Row, completion: ChatCompletion, first_token: float | None) -> Result:
        latency = _since_start(completion.attempts)
        spent = self._cost(row, completion, completion.attempts)
        self._stats.add_completion(completion, latency, first_token, spent)
        weight = _LINE_BYTES + len(completion.text) * len(completion.choices)
        return Result(row, completion, None, latency, first_token, weight, spent=spent)

    def _save(self, result: Result) -> None:
        self._unsaved_bytes += result.weight
        result.limit = self._changed_limit()
        if self.output is not None:
            self.output.writer.put(result)
        if self._stats.ending is not None and (
            not self.stopping or self._stats.ending == "long_wait"
        ):
            self._stop()

    def _changed_limit(self) -> LearnedLimit | None:
        now = time.monotonic()
        if now < self._limit_due:
            return None
        self._limit_due = now + _LIMIT_INTERVAL
        pace = self._client.pace
        limit = LearnedLimit(
            None if pace.rate is None else float(f"{pace.rate:.3g}"), pace.concurrency
        )
        if limit == self._limit:
            return None
        self._limit = limit
        return limit


def _since_start(attempts: tuple[Attempt, ...]) -> float:
    """Seconds since the last attempt started; attempts have wall-clock times, which may jump."""
    return max(0.0, time.time() - attempts[-1].started) if attempts else 0.0
