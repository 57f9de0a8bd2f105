"""The leader: runs the one limiter and hands out its permits to the workers in round robin.

Pure: it is given messages and ``now``, in seconds of its process's monotonic clock, and fills
``outbox``; ``service`` has the timers and the transport. The limiter has a time of its own, which
began at 0 with the first leader and is continued by each later one, on whichever machine, so that
what was learned stays valid. It refuses to grant without a lease: a leader that was stopped, or
that lost contact, may have a successor.
"""

import logging
import math
from collections import deque
from typing import Final

import attrs
from attrs import define, field

from laplas_async.pacing.ledger import Ticket
from laplas_async.pacing.limiter import Limiter
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.shared import messages as m
from laplas_async.pacing.shared import snapshot

log = logging.getLogger("laplas_async")

# Seconds. Workers send something every 0.5 s; one that misses four is stopped, or its machine is
# out of reach, and its permits are wanted by others (test_leader: silent).
SILENT_AFTER: Final = 2.0
# Seconds after which a permit that a worker does not confirm was lost on the way: far more than any
# message takes, and little enough that nobody notices (test_leader: lost grant).
LOST_AFTER: Final = 1.0
# Seconds that a rejection may take to be reported, before the first one shows it: a connection, the
# messages, and what a process does once before its first request. Silence is not acceptance sooner
# than that, or a dozen processes that start together would be taken for accepted
# (test_leader: slow start).
FIRST_ECHO: Final = 0.1


@define(eq=False)
class _Worker:
    """What is known of one worker. ``sent``: (number, time) of permits that are not confirmed."""

    name: str
    heard: float
    next_number: int
    tickets: dict[int, Ticket] = field(factory=dict)
    sent: deque[tuple[int, float]] = field(factory=deque)
    waiting: int = 0
    costs: tuple[int, ...] = ()

    @property
    def wanted(self) -> int:
        """How many more permits it needs than are on the way to it."""
        return self.waiting - len(self.sent)

    @property
    def cost(self) -> int:
        """The tokens that the next one reserves."""
        if not self.costs:
            return 0
        return self.costs[min(len(self.sent), len(self.costs) - 1)]


@define(eq=False)
class Leader:
    """Hands out the permits of one limiter.

    ``version``: of this package, which workers must have too. ``lossy``: messages can be lost on
    the way, so a permit that is not confirmed is granted again. ``lease_until``: nothing is granted
    later. ``collect_until``: nor before, unless all workers of the last leader have joined, because
    only they know what is in flight.
    """

    limits: Limits
    ceiling: int
    version: str
    began: float  # now
    lossy: bool = False
    lease_until: float = math.inf
    collect_until: float = -math.inf
    outbox: dict[str, list[m.Message]] = field(factory=dict)
    limiter: Limiter = field(init=False)
    granting: bool = False
    _offset: float = field(init=False)  # from this process's clock to the limiter's time
    _continued: float = -math.inf  # the limiter's time at which it was continued
    _expected: set[str] = field(factory=set)
    _workers: dict[str, _Worker] = field(factory=dict)
    _turns: deque[_Worker] = field(factory=deque)  # those that want permits, in round robin
    _history: list[tuple[float, str, m.Report]] = field(factory=list)
    _ticked: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.limiter = Limiter(self.limits, ceiling=self.ceiling)
        self.limiter.connected(FIRST_ECHO)
        self._offset = -self.began
        self._ticked = self.began

    # --- questions ------------------------------------------------------------------------------

    @property
    def is_continued(self) -> bool:
        """Whether it goes on from what another leader had learned."""
        return self._continued > -math.inf

    @property
    def workers(self) -> tuple[str, ...]:
        """The names of all that have joined."""
        return tuple(self._workers)

    def state(self, now: float) -> m.State:
        """What is broadcast."""
        limiter, at = self.limiter, now + self._offset
        decision = limiter.decide(at, 0)
        return m.State(
            now=at,
            limiter=snapshot.take(limiter),
            workers=self.workers,
            concurrency=limiter.concurrency,
            rate=limiter.rate_per_second,
            closed=limiter.closed,
            reason=decision.reason,
            rules=[attrs.asdict(rule) for rule in limiter.rules],
        )

    # --- what happens ---------------------------------------------------------------------------

    def continue_from(self, state: m.State, age: float, now: float) -> None:
        """Go on from what another leader knew ``age`` seconds ago, unless that is known better."""
        if self.granting or state.now <= self._continued:
            return
        try:
            self.limiter = snapshot.restore(state.limiter, self.limits, ceiling=self.ceiling)
        except snapshot.SnapshotError as error:
            log.warning("what was learned about the limits is lost: %s", error)
            return
        self._continued = state.now
        self._offset = state.now + age - now
        self._expected = set(state.workers) - set(self._workers)
        for worker in self._workers.values():  # they joined before
            for number, ticket in worker.tickets.items():
                worker.tickets[number] = self._adopt(now, ticket.tokens)

    def receive(self, name: str, message: m.Message, now: float) -> None:
        """A worker says something."""
        if isinstance(message, m.Hello):
            self._join(name, message, now)
            return
        worker = self._workers.get(name)
        if worker is None:  # it was expired, or joined a leader before this one
            if not isinstance(message, m.Bye):
                self.outbox[name] = [m.Expired()]
            return
        worker.heard = now
        match message:
            case m.Want() | m.Alive():
                self._confirm(worker, message.received, now)
                worker.waiting, worker.costs = message.waiting, message.costs
                self._queue(worker)
                if isinstance(message, m.Alive):
                    self._free_lost(worker, message, now)
            case m.Reports():
                self._take_reports(worker, message.reports, now)
            case m.Quota():
                for other in self._workers:
                    if other != name:
                        self._send(other, message)
            case _:  # it leaves, or does not follow the protocol
                self.leave(name, now)

    def leave(self, name: str, now: float) -> None:
        """A worker has ended: its permits are free at once."""
        worker = self._workers.pop(name, None)
        self._expected.discard(name)
        self.outbox.pop(name, None)
        if worker is None:
            return
        for ticket in worker.tickets.values():
            self.limiter.ended(ticket, now + self._offset)
        worker.tickets.clear()
        worker.waiting = 0

    def tick(self, now: float) -> None:
        """Expire the workers that are silent. Call it every quarter of a second or so."""
        late = now - self._ticked > SILENT_AFTER / 2  # this process was stopped, not they
        self._ticked = now
        for worker in list(self._workers.values()):
            if late:
                worker.heard = now
            elif now - worker.heard > SILENT_AFTER:
                self.leave(worker.name, now)
                self._send(worker.name, m.Expired())

    def grant(self, now: float) -> float:
        """Hand out the permits that may be handed out; from when to call it again."""
        if now >= self.lease_until:
            return math.inf  # until the lease is renewed
        if not self.granting:
            if now < self.collect_until and (self._expected or not self.is_continued):
                return self.collect_until
            self.granting = True
            self._replay()
        limiter, turns, at = self.limiter, self._turns, now + self._offset
        while turns:
            worker = turns[0]
            if worker.wanted <= 0:
                turns.popleft()
                continue
            decision = limiter.decide(at, cost := worker.cost)
            if not decision.go:
                return decision.until - self._offset
            number = worker.next_number
            worker.next_number += 1
            worker.tickets[number] = limiter.started(at, cost)
            worker.sent.append((number, now))
            self._add_grant(worker.name, number, cost)
            turns.rotate(-1)
        return math.inf

    # --- joining ----------------------------------------------------------------------------------

    def _join(self, name: str, hello: m.Hello, now: float) -> None:
        self.leave(name, now)
        if (hello.protocol, hello.version) != (m.PROTOCOL, self.version):
            self._send(name, m.Refused(self._refusal(hello)))
            return
        if hello.state is not None:
            self.continue_from(hello.state, hello.state_age, now)
        worker = _Worker(name, now, hello.next_number)
        self._workers[name] = worker
        self._expected.discard(name)
        started = set()
        if not self.granting:  # a worker that greets again sends all of it again
            self._history = [one for one in self._history if one[1] != name]
            self._history += [(now - report[3], name, report) for report in hello.history]
            started = {number for kind, number, *_ in hello.history if kind == m.STARTED}
        for number, tokens in hello.held:
            if number not in started:
                worker.tickets[number] = self._adopt(now, tokens)
        self._send(name, m.Welcome())

    def _refusal(self, hello: m.Hello) -> str:
        return (
            f"the workers that share this limit run laplas-async {self.version} (protocol "
            f"{m.PROTOCOL}), this one {hello.version} (protocol {hello.protocol}): install one "
            "version everywhere"
        )

    def _adopt(self, now: float, tokens: int) -> Ticket:
        """Count a request that is in flight, and was sent before the limiter could know of it."""
        self.limiter.in_flight += 1
        level = self.limiter.in_flight
        return Ticket(now + self._offset, level, tokens, settled=True, accepted=True)

    def _replay(self) -> None:
        """Learn what happened while there was no leader, as if there had been one.

        Without it the learner would take the time for one in which nothing was sent, and draw
        wrong conclusions from the next rejection (test_leader: history).
        """
        for at, name, report in sorted(self._history, key=lambda one: one[0]):
            worker = self._workers.get(name)
            if worker is None:
                continue
            kind, number, tokens, _ = report
            if kind == m.STARTED:
                started = self.limiter.started(at + self._offset, int(tokens or 0))
                worker.tickets[number] = started
            else:
                self._report(worker, report, at)
        self._history.clear()

    # --- reports ----------------------------------------------------------------------------------

    def _take_reports(self, worker: _Worker, reports: tuple[m.Report, ...], now: float) -> None:
        if not self.granting:  # a permit may be known from the history alone, which comes first
            self._history += [(now, worker.name, report) for report in reports]
            return
        for report in reports:
            self._report(worker, report, now)

    def _report(self, worker: _Worker, report: m.Report, now: float) -> None:
        kind, number, value, _ = report
        limiter, at = self.limiter, now + self._offset
        if kind == m.PAUSE:
            limiter.pause(at, value or 0.0)
            return
        if kind == m.CONNECTED:
            limiter.connected(max(value or 0.0, FIRST_ECHO))
            return
        ticket = worker.tickets.get(number)
        if ticket is None:  # given to others since
            return
        if kind == m.ACCEPTED:
            limiter.accepted(ticket, at)
            return
        if kind == m.TOKENS:
            limiter.settle(ticket, int(value or 0))
            return
        del worker.tickets[number]
        if kind == m.REJECTED:
            limiter.rejected(ticket, at, value)
        elif kind == m.FAILED:
            limiter.failed(ticket, at)
        else:
            if kind == m.DONE:
                limiter.accepted(ticket, at)
            limiter.ended(ticket, at)

    def _confirm(self, worker: _Worker, received: int, now: float) -> None:
        """It has got the permits up to ``received``; older ones that it has not are lost.

        Those are granted again, for it still waits.
        """
        sent = worker.sent
        while sent and (sent[0][0] <= received or (self.lossy and now - sent[0][1] > LOST_AFTER)):
            number, _ = sent.popleft()
            if number > received and (ticket := worker.tickets.pop(number, None)) is not None:
                self.limiter.ended(ticket, now + self._offset)

    def _free_lost(self, worker: _Worker, message: m.Alive, now: float) -> None:
        """The report of a permit's end was lost: it has arrived, and is not in use."""
        held = set(message.held)
        for number in [n for n in worker.tickets if n <= message.received and n not in held]:
            self.limiter.ended(worker.tickets.pop(number), now + self._offset)

    def _queue(self, worker: _Worker) -> None:
        if worker.wanted > 0 and worker not in self._turns:
            self._turns.append(worker)

    # --- sending ----------------------------------------------------------------------------------

    def _send(self, name: str, message: m.Message) -> None:
        self.outbox.setdefault(name, []).append(message)

    def _add_grant(self, name: str, number: int, cost: int) -> None:
        pending = self.outbox.setdefault(name, [])
        last = pending[-1] if pending else None
        if isinstance(last, m.Grant) and last.first + len(last.costs) == number:
            pending[-1] = m.Grant(last.first, (*last.costs, cost))
        else:
            pending.append(m.Grant(number, (cost,)))
