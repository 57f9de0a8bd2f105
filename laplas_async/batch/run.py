"""``run_batch``: a file of requests through a client, and their results into a file that survives.

Two threads read and save; in between, in the event loop, the scheduler starts as many rows as the
client's gate admits. It refuses to pace, to retry (the client does both), and to touch files.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from laplas_async.batch.journal import Journal
from laplas_async.batch.reader import BatchSpec, Block, Reader
from laplas_async.batch.report import BatchProgress, BatchReport, Ending
from laplas_async.batch.rows import RequestDefaults
from laplas_async.batch.stats import RunStats
from laplas_async.batch.work import Output, RowWork
from laplas_async.batch.writer import Saved, Writer
from laplas_async.calls.arguments import check_labels
from laplas_async.calls.scheduler import Scheduler, wait_for_all
from laplas_async.client import LaplasClient
from laplas_async.errors import ConfigError, LaplasError
from laplas_async.pacing.budget import Budget
from laplas_async.pacing.price import Prices, Pricing
from laplas_async.pacing.reservation import RequestSize
from laplas_async.types import Labels

_BALANCE_TIMEOUT = 5.0  # seconds; a batch that has failed is worth no longer wait


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
    labels: Labels | None = None,
    budget: Budget | None = None,
    price: Pricing | None = None,
    on_progress: Callable[[BatchProgress], None] | None = None,
    progress_interval: float = 0.5,
    stop: asyncio.Event | None = None,
) -> BatchReport:
    """Send each row of ``input`` and write one line for each to ``output``; resume if it exists.

    ``input``: a path (``.gz`` and ``.zst`` by their names) or an open binary stream; its lines are
    those of OpenAI's Batch API, or objects with ``messages`` or ``prompt`` and request fields.
    ``output`` gets OpenAI's result lines, with more about each row under ``laplas``. A row that has
    a line there, completed or failed, is not sent again unless its request has changed, or it
    failed and ``retry_failed`` is set. Beside it, ``OUTPUT.laplas`` records what is in flight and
    keeps other runs out.

    ``defaults``: request fields for rows that lack them; ``system``: a system message for rows
    without one. ``ordered``: at the end, lines are in the order of the input. ``max_errors``: stop
    after this many failed rows, at least 1; ten consecutive rows that fail because of the key or
    the account stop the batch in any case. ``stream``: stream the responses, to measure the time to
    the first token. ``labels`` are attached to every call, for the client's observers.
    ``budget``: a cap on what the batch may cost, with all its runs so far, as far as their lines
    say; the batch stops before a row for which there is no room, and can be resumed. ``price`` in
    US dollars per million tokens (else that of ``budget``) for responses that report no cost.
    ``on_progress`` is called in the event loop every ``progress_interval`` seconds
    (more than 0), and at the end. ``stop``: once it is set, no more rows are started; what is in
    flight ends and is saved.

    Raises ``ConfigError`` for arguments that cannot be right, ``JournalError`` if a file cannot be
    used, or cannot be used any longer (a full disk); what was saved stays, and the same call
    resumes. Cancelling it cancels what is in flight at once: the next run sends those rows again
    and marks them as possibly duplicated.
    """
    if max_errors is not None and (type(max_errors) is not int or max_errors < 1):
        raise ConfigError(f"max_errors={max_errors!r}: must be an integer, at least 1, or None")
    if not progress_interval > 0:
        raise ConfigError(f"progress_interval={progress_interval!r}: must be seconds, more than 0")
    spec = BatchSpec(
        source=input,
        output=output,
        defaults=RequestDefaults(client.model, defaults, system),
        ordered=ordered,
        retry_failed=retry_failed,
    )
    check_labels(labels)
    costs = await asyncio.to_thread(_Costs, client, budget, price)
    costs.check(spec.defaults.model)
    settings = {"labels": labels, "budget": budget}
    batch = _Batch(
        client,
        spec,
        RunStats(
            asyncio.get_running_loop().time, max_errors, max_wait=client.retry.max_retry_after
        ),
        costs,
        stream=stream,
        settings={name: value for name, value in settings.items() if value is not None},
    )
    return await batch.run(on_progress, progress_interval, stop)


class _Costs:
    """What rows cost, and the budget that applies; made in a thread, for ``Prices`` may import."""

    def __init__(self, client: LaplasClient, budget: Budget | None, price: Pricing | None) -> None:
        if budget is not None and not isinstance(budget, Budget):
            raise ConfigError(f"budget={budget!r}: must be a Budget, such as Budget(usd=25)")
        self._own = budget
        self.budget = client.budget if budget is None else budget
        no_price = price is None and self.budget is not None
        self.prices = self.budget.prices if no_price and self.budget else Prices(price)

    def check(self, model: str) -> None:
        """Raise ``ConfigError`` if a cap could not hold for rows that name no model."""
        if self.budget is not None and not self.budget.prices.by_model:
            self.budget.claim(RequestSize(), model)

    def begin(self, output: str, usd: float) -> None:
        """The output's lines cost this much so far."""
        if self._own is not None:
            self._own.count_job(output, usd)

    def end(self, output: str, usd: float) -> None:
        """As ``begin``, after a run whose calls are counted."""
        if self._own is not None:
            self._own.count_job(output, usd, is_counted=True)


class _Batch:
    """One run, from the opening of its files to its report: owns the threads and the scheduler."""

    def __init__(
        self,
        client: LaplasClient,
        spec: BatchSpec,
        stats: RunStats,
        costs: _Costs,
        *,
        stream: bool,
        settings: Mapping[str, Any],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._gate = client.gate
        self._ordered = spec.ordered
        self._stats = stats
        self._costs = costs
        self._client = client
        self._reader = Reader(spec, self._open, self._take_block)
        self._work = RowWork(
            client,
            stats,
            stream=stream,
            settings=settings,
            prices=costs.prices,
            release=self._reader.release,
            stop=lambda: self._stop(stats.ending),
        )
        self._scheduler = Scheduler(self._work, client.gate)
        self._failure: BaseException | None = None
        self._over = asyncio.Event()
        self._ticker: asyncio.TimerHandle | None = None

    async def run(
        self,
        on_progress: Callable[[BatchProgress], None] | None,
        interval: float,
        stop: asyncio.Event | None,
    ) -> BatchReport:
        """Read, send and save every row; see ``run_batch``."""
        stopper = None if stop is None else asyncio.ensure_future(self._watch(stop))
        self._reader.ended.add_done_callback(self._reader_ended)
        self._scheduler.done.add_done_callback(self._scheduler_done)
        self._reader.start()
        self._scheduler.start()
        try:
            if on_progress is not None:
                self._tick(on_progress, interval)
            await self._over.wait()
            await self._save_all()
            if self._failure is not None:
                raise self._failure
            if on_progress is not None:
                on_progress(self._progress())
            await self._explain()
        finally:
            if self._ticker is not None:
                self._ticker.cancel()
            await self._clean(stopper)
        return self._stats.report()

    # --- reported by the threads ----------------------------------------------------------------

    def _open(self, journal: Journal) -> None:
        """The output is open, and its lines are known."""
        self._stats.rows.repaired = journal.repaired
        self._stats.usd_before = self._reader.usd_before
        self._costs.begin(journal.path, self._reader.usd_before)
        writer = Writer(
            journal, self._reader.positions, self._take_saved, lambda e: self._fail(e, at_once=True)
        )
        self._work.output = Output(journal, writer)
        writer.start()

    def _take_block(self, block: Block) -> None:
        self._stats.add_block(block)
        self._work.add(block)
        self._scheduler.wake()

    def _take_saved(self, saved: Saved) -> None:
        self._stats.saved += saved.count
        self._work.settle(saved)
        self._scheduler.wake()

    def _reader_ended(self, ended: "asyncio.Future[None]") -> None:
        self._work.is_read = True
        if (error := ended.exception()) is not None:
            self._fail(error, at_once=self._work.output is None)
        self._scheduler.wake()

    def _scheduler_done(self, _: "asyncio.Future[None]") -> None:
        if self._scheduler.failure is not None:
            self._fail(self._scheduler.failure, at_once=True)
        self._over.set()

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stop("interrupted")

    def _tick(self, on_progress: Callable[[BatchProgress], None], interval: float) -> None:
        try:
            on_progress(self._progress())
        except BaseException as error:  # noqa: BLE001 - the caller's own: run_batch raises it
            self._fail(error, at_once=True)
        else:
            self._ticker = self._loop.call_later(interval, self._tick, on_progress, interval)

    def _progress(self) -> BatchProgress:
        return self._stats.progress(self._gate.pace, self._costs.budget)

    # --- the end ------------------------------------------------------------------------------

    def _stop(self, ending: Ending | None = None) -> None:
        """Start no more rows."""
        if not self._work.stopping:
            self._work.stopping = True
            self._stats.ending = ending
            self._reader.stop()
            self._scheduler.wake()
        if ending == "long_wait" and not self._gate.pace.in_flight:
            self._over.set()  # rows that wait at the gate would wait in vain

    def _fail(self, error: BaseException, *, at_once: bool) -> None:
        """The batch cannot go on; what is in flight may end first, if it can be saved."""
        self._failure = self._failure or error
        self._stop()
        if at_once:
            self._over.set()

    async def _save_all(self) -> None:
        await self._scheduler.aclose()  # after a failure, rows are in flight
        await wait_for_all({self._reader.ended})
        output, stats = self._work.output, self._stats
        if output is None:
            return
        self._costs.end(output.journal.path, stats.usd_before + stats.usage.usd_in_lines)
        is_done = stats.is_read and not self._work.has_rows and self._failure is None
        if is_done and stats.ending != "long_wait":
            stats.ending, stats.reason = "done", ""  # even if it was to stop
            output.writer.close(index=self._reader.index, ordered=self._ordered)
        else:
            output.writer.close()
        await asyncio.wait({output.writer.ended})

    async def _explain(self) -> None:
        """For a batch that ran out of credits: the balance, and what the rest would need."""
        stats = self._stats
        if stats.ending != "same_failure" or not stats.is_out_of_credits:
            return
        with suppress(LaplasError, TimeoutError):
            async with asyncio.timeout(_BALANCE_TIMEOUT):
                stats.add_balance(await self._client.balance())

    async def _clean(self, stopper: "asyncio.Future[None] | None") -> None:
        """Leave no task, thread or file behind; cancel everything but what is being written."""
        self._work.stopping = True
        self._reader.stop()
        self._scheduler.cancel()
        ending: set[asyncio.Future[Any]] = {self._reader.ended}
        if stopper is not None:
            ending.add(stopper)
            stopper.cancel()
        try:
            try:
                await self._scheduler.aclose()
            finally:
                await wait_for_all(ending)
        finally:
            if self._work.output is not None:
                self._work.output.writer.stop()
                await wait_for_all({self._work.output.writer.ended})
