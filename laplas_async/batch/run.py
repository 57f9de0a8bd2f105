"""``run_batch``: a file of requests through a client, their results into a file that survives.

Two threads read and save; here, in the loop, rows are asked, as many at once as the client's gate
lets through. It refuses to pace, to retry (both are the client's), and to touch files.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from laplas_async.batch.background import wait_for_all
from laplas_async.batch.journal import Journal
from laplas_async.batch.reader import Block, Order, Reader
from laplas_async.batch.report import BatchProgress, BatchReport, Ending
from laplas_async.batch.rows import BadRow, Recipe, Row
from laplas_async.batch.stats import Tally
from laplas_async.batch.writer import Result, Saved, Writer
from laplas_async.client import LaplasClient
from laplas_async.errors import ConfigError, LaplasError
from laplas_async.types import ChatCompletion

_LOOK_AHEAD = 2  # rows that wait at the gate
_MAX_UNSAVED_BYTES = 16 * 1024 * 1024
_MAX_ASKED_BYTES = 64 * 1024 * 1024
_LINE_BYTES = 600  # of a result, beside its text


async def run_batch(
    input: str | os.PathLike[str] | BinaryIO,  # noqa: A002 - the two files, by their plain names
    output: str | os.PathLike[str],
    *,
    client: LaplasClient,
    defaults: Mapping[str, Any] | None = None,
    system: str | None = None,
    ordered: bool = False,
    retry_failed: bool = False,
    max_errors: int | None = None,
    stream: bool = False,
    on_progress: Callable[[BatchProgress], None] | None = None,
    progress_interval: float = 0.5,
    stop: asyncio.Event | None = None,
) -> BatchReport:
    """Ask each row of ``input``, and write a line for each to ``output``; go on if it was begun.

    ``input``: a path (``.gz`` and ``.zst`` by their names) or an open binary stream; its lines are
    those of OpenAI's Batch API, or objects with ``messages`` or ``prompt`` and request fields.
    ``output`` gets OpenAI's result lines, with ours under ``laplas``. A row whose line is there,
    answered or failed, is not asked again unless it asks something else now, or failed and
    ``retry_failed``. Beside it, ``OUTPUT.laplas`` tells what is in flight and keeps other runs out.

    ``defaults``: request fields for rows that have none; ``system``: a system message for rows
    without one. ``ordered``: at the end, lines are as in the input. ``max_errors``: end after so
    many failed rows; ten rows in a row that fail for the key or the account end it in any case.
    ``stream``: ask for streams, to learn when the first token came. ``on_progress`` is called in
    the loop every ``progress_interval`` seconds, and at the end. ``stop``: when it is set, no more
    rows are begun; what is in flight ends and is saved.

    Raises ``ConfigError`` for what cannot be right, ``JournalError`` if a file cannot be used, or
    no longer (a full disk); what was saved stays, and the same call goes on. Cancelling it ends
    what is in flight at once: those rows are asked again by the next run, and marked there.
    """
    if max_errors is not None and (type(max_errors) is not int or max_errors < 1):
        raise ConfigError(f"max_errors={max_errors!r}: must be an integer, at least 1, or None")
    if not progress_interval > 0:
        raise ConfigError(f"progress_interval={progress_interval!r}: must be seconds, more than 0")
    order = Order(
        source=input,
        output=output,
        recipe=Recipe(client.model, defaults, system),
        ordered=ordered,
        retry_failed=retry_failed,
    )
    batch = _Batch(client, order, max_errors=max_errors, stream=stream)
    return await batch.run(on_progress, progress_interval, stop)


class _Batch:
    """One run. All but the threads' work happens in the loop, in plain calls between awaits."""

    def __init__(
        self, client: LaplasClient, order: Order, *, max_errors: int | None, stream: bool
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._gate = client.gate
        self._order = order
        self._ask = self._stream if stream else self._complete
        self._tally = Tally(self._loop.time, max_errors)
        self._reader = Reader(order, self._open, self._take_block)
        self._writer: Writer | None = None
        self._journal: Journal | None = None
        self._rows: deque[Row | BadRow] = deque()
        self._blocks: deque[int] = deque()  # how many rows of each block are left
        self._running: set[asyncio.Task[None]] = set()
        self._starting = 0  # tasks that have not come to the gate yet
        self._asked_bytes = 0  # of the rows that are being asked
        self._unsaved_bytes = 0
        self._stopping = False
        self._is_read = False  # to the end, or as far as it will be
        self._failure: BaseException | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._wake_due = False
        self._ticker: asyncio.TimerHandle | None = None

    async def run(
        self,
        on_progress: Callable[[BatchProgress], None] | None,
        interval: float,
        stop: asyncio.Event | None,
    ) -> BatchReport:
        """From the beginning to the report."""
        tell = on_progress or (lambda _: None)
        stopper = None if stop is None else asyncio.ensure_future(self._watch(stop))
        self._reader.ended.add_done_callback(self._reader_ended)
        self._gate.on_room.add(self._wake)
        self._reader.start()
        try:
            if on_progress is not None:
                self._tick(on_progress, interval)
            await self._over
            await self._save_all()
            if self._failure is not None:
                raise self._failure
            tell(self._tally.progress(self._gate.pace))
        finally:
            self._gate.on_room.discard(self._wake)
            if self._ticker is not None:
                self._ticker.cancel()
            await self._clean(stopper)
        return self._tally.report()

    # --- what comes from the threads ----------------------------------------------------------

    def _open(self, journal: Journal) -> None:
        """The output is open, and what is in it is known."""
        self._journal = journal
        self._tally.mended = journal.mended
        self._writer = Writer(
            journal, self._reader.places, self._take_saved, lambda e: self._fail(e, at_once=True)
        )
        self._writer.start()

    def _take_block(self, block: Block) -> None:
        tally = self._tally
        tally.read += block.read
        tally.resumed += block.resumed
        tally.failed_before += block.failed_before
        tally.done, tally.is_read = block.done, block.is_last
        if self._journal is not None:
            self._journal.flight.give_back(block.freed)
        if block.rows:
            self._rows.extend(block.rows)
            self._blocks.append(len(block.rows))
        else:
            self._reader.release()
        self._wake()

    def _take_saved(self, saved: Saved) -> None:
        self._tally.saved += saved.count
        self._unsaved_bytes -= saved.weight
        if self._journal is not None:
            self._journal.flight.give_back(saved.slots)
        self._wake()

    def _reader_ended(self, ended: "asyncio.Future[None]") -> None:
        self._is_read = True
        if (error := ended.exception()) is not None:
            self._fail(error, at_once=self._journal is None)
        self._wake()

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stop("interrupted")

    def _tick(self, on_progress: Callable[[BatchProgress], None], interval: float) -> None:
        try:
            on_progress(self._tally.progress(self._gate.pace))
        except BaseException as error:  # noqa: BLE001 - the caller's own: it gets it back
            self._fail(error, at_once=True)
        else:
            self._ticker = self._loop.call_later(interval, self._tick, on_progress, interval)

    # --- asking -------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Something has changed: see, when this turn of the loop is over, what can be done."""
        if not self._wake_due:
            self._wake_due = True
            self._loop.call_soon(self._begin_rows)

    def _begin_rows(self) -> None:
        self._wake_due = False
        while self._rows and self._has_room() and (row := self._next_row()) is not None:
            self._starting += 1
            task = self._loop.create_task(self._work(row))
            self._running.add(task)
            task.add_done_callback(self._end)
        is_over = self._is_read and not self._running and (self._stopping or not self._rows)
        if is_over and not self._over.done():
            self._over.set_result(None)

    def _has_room(self) -> bool:
        return (
            not self._stopping
            and (not self._running or self._gate.waiting + self._starting < _LOOK_AHEAD)
            and self._asked_bytes < _MAX_ASKED_BYTES
            and self._unsaved_bytes < _MAX_UNSAVED_BYTES
        )

    def _next_row(self) -> Row | None:
        """The next row that can be asked, noted as in flight; bad ones on the way are told."""
        journal, rows = self._journal, self._rows
        while rows and journal is not None and journal.flight.room and not self._stopping:
            row = rows.popleft()
            self._count_down()
            self._tally.changed += row.changed
            if isinstance(row, Row):
                self._tally.maybe_twice += row.maybe_twice
                if row.slot < 0:
                    row.slot = journal.flight.take(row.key)
                return row
            self._tally.refuse()
            self._put(Result(row, weight=_LINE_BYTES))
        return None

    def _count_down(self) -> None:
        self._blocks[0] -= 1
        if not self._blocks[0]:
            self._blocks.popleft()
            self._reader.release()

    async def _work(self, row: Row | None) -> None:
        """Ask a row, and then others, as long as there is room: a task costs more than a row."""
        self._starting -= 1
        self._wake()
        while row is not None:
            self._asked_bytes += row.size
            try:
                result = await self._ask(row)
            except LaplasError as error:
                self._tally.fail(error)
                result = Result(row, error=error, weight=_LINE_BYTES)
            finally:
                self._asked_bytes -= row.size
            self._put(result)
            row = self._next_row() if self._has_room() else None

    async def _complete(self, row: Row) -> Result:
        return self._answered(row, await self._client.complete(**row.fields), None)

    async def _stream(self, row: Row) -> Result:
        async with self._client.stream(**row.fields) as stream:
            first = time.time()
            completion = await stream.completion()
        attempts = completion.attempts
        return self._answered(row, completion, first - attempts[-1].started if attempts else None)

    def _answered(self, row: Row, completion: ChatCompletion, first_token: float | None) -> Result:
        attempts = completion.attempts
        # The clock of the wall, for that is what an attempt tells; it may have been set back.
        latency = max(0.0, time.time() - attempts[-1].started) if attempts else 0.0
        self._tally.answer(completion, latency, first_token)
        weight = _LINE_BYTES + len(completion.text) * len(completion.choices)
        return Result(row, completion, None, latency, first_token, weight)

    def _put(self, result: Result) -> None:
        self._unsaved_bytes += result.weight
        if self._writer is not None:
            self._writer.put(result)
        if self._tally.ending is not None and not self._stopping:
            self._stop(self._tally.ending)

    def _end(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error, at_once=True)  # a hook of the caller's, or a defect
        self._wake()

    # --- the end ------------------------------------------------------------------------------

    def _stop(self, ending: Ending | None = None) -> None:
        """Begin no more rows."""
        if not self._stopping:
            self._stopping = True
            self._tally.ending = ending
            self._reader.stop()
            self._wake()

    def _fail(self, error: BaseException, *, at_once: bool) -> None:
        """The batch cannot go on; what is in flight may end first, if it can be saved."""
        self._failure = self._failure or error
        self._stop()
        if at_once and not self._over.done():
            self._over.set_result(None)

    async def _save_all(self) -> None:
        for task in self._running:  # of a failure
            task.cancel()
        await wait_for_all({*self._running, self._reader.ended})
        if self._writer is None:
            return
        tally = self._tally
        if tally.is_read and not self._rows and self._failure is None:
            tally.ending, tally.reason = "done", ""  # though it was to stop
            self._writer.close(index=self._reader.index, ordered=self._order.ordered)
        else:
            self._writer.close()
        await asyncio.wait({self._writer.ended})

    async def _clean(self, stopper: "asyncio.Future[None] | None") -> None:
        """Leave no task, thread or file behind; at once, but for what is being written."""
        self._stopping = True  # or the end of a row would begin another
        self._reader.stop()
        ending: set[asyncio.Future[Any]] = {*self._running, self._reader.ended}
        if stopper is not None:
            ending.add(stopper)
            stopper.cancel()
        for task in self._running:
            task.cancel()
        try:
            await wait_for_all(ending)
        finally:
            if self._writer is not None:
                self._writer.stop()
                await wait_for_all({self._writer.ended})
