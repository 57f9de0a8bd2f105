"""Workers, their leader and a service with a hidden limit, in virtual time.

Every message passes through the codec and takes ``delay`` seconds. Workers can be killed, stopped
and cut off, and so can the leader; the next one continues from the last state that a worker has.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable

from laplas_async.pacing.ledger import Ticket
from laplas_async.pacing.limits import Limits
from laplas_async.pacing.shared import messages as m
from laplas_async.pacing.shared.leader import Leader
from laplas_async.pacing.shared.worker import TICK, SharedLimiter
from tests.unit.pacing.hidden import Hidden

VERSION = "1.0"
CEILING = 1000


class Worker:
    """One process: a number of calls to make, and what became of them."""

    def __init__(self, team: "Team", name: str, calls: int, limits: Limits) -> None:
        self.team = team
        self.limiter = SharedLimiter(limits, name, team.now, ceiling=CEILING, version=VERSION)
        self.name = name
        self.waiting = calls
        self.answered = 0
        self.rejected = 0
        self.dead = self.stopped = self.cut = False
        self.act_at = 0.0
        self.stale: list[m.Message] = []  # arrived while it was stopped

    def act(self) -> None:
        """Send what may be sent, and say what has changed."""
        if self.dead or self.stopped:
            return
        team, limiter = self.team, self.limiter
        while self.waiting:
            decision = limiter.decide(team.now)
            if not decision.go:
                if decision.until < math.inf and not team.now < self.act_at <= decision.until:
                    self.act_at = decision.until
                    team.at(decision.until, self.act)
                break
            self.waiting -= 1
            self.send(limiter.started(team.now))
        for message in limiter.outgoing(team.now, self.waiting):
            team.to_leader(self, message)

    def send(self, ticket: Ticket) -> None:
        team = self.team
        team.after(team.distance / 2, lambda: team.arrive(self, ticket))

    def end(self, ticket: Ticket, *, answered: bool) -> None:
        if self.dead:
            return
        if self.stopped:
            self.team.after(0.01, lambda: self.end(ticket, answered=answered))
            return
        if answered:
            self.answered += 1
            self.limiter.accepted(ticket, self.team.now)
            self.limiter.ended(ticket, self.team.now)
        else:
            self.rejected += 1
            self.waiting += 1
            self.limiter.rejected(ticket, self.team.now)
        self.act()

    def receive(self, message: m.Message) -> None:
        if self.stopped:
            self.stale.append(message)
        elif not self.dead and not self.cut:
            reply = self.limiter.receive(message, self.team.now)
            if reply is not None:
                self.team.to_leader(self, reply)
            self.act()

    def tick(self) -> None:
        if self.dead:
            return
        if not self.stopped:
            self.limiter.tick(self.team.now)
            self.act()
        self.team.after(TICK, self.tick)

    def proceed(self) -> None:
        """It was stopped, and goes on: first it reads what has arrived."""
        self.stopped = False
        stale, self.stale = self.stale, []
        for message in stale:
            self.receive(message)


class Team:
    """``hidden``: the limits of the service; ``seconds``: how long a call takes."""

    def __init__(
        self,
        hidden: list[Hidden],
        *,
        workers: int = 4,
        calls: int = 100,
        seconds: float = 0.2,
        distance: float = 0.002,
        delay: float = 0.0002,
        jitter: float = 0.0,
        limits: Limits | None = None,
    ) -> None:
        self.now = 0.0
        self.hidden = hidden
        self.seconds = seconds
        self.distance = distance
        self.delay = delay
        self.jitter = jitter
        self.limits = Limits() if limits is None else limits
        self.random = random.Random(1)
        self.most = self.inside = 0
        self.finished_at = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._serve_at = 0.0
        self.leader: Leader | None = None
        self.workers = [Worker(self, f"w{n}", calls, self.limits) for n in range(workers)]
        self.elect(self.workers[0])
        for number, worker in enumerate(self.workers):
            self.at(0.001 * number, worker.tick)

    # --- time -----------------------------------------------------------------------------------

    def at(self, moment: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(self.now, moment), next(self._numbers), act))

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self.at(self.now + seconds, act)

    def run(self, until: float = 300.0) -> None:
        """Until all calls of living workers are answered, or that moment."""
        while self._events and self._events[0][0] <= until and not self.finished:
            self.now, _, act = heapq.heappop(self._events)
            act()
        if not self.finished:
            self.now = until

    def drain(self) -> None:
        """Let what is on its way arrive."""
        until = self.now + 1.0
        while self._events and self._events[0][0] <= until:
            self.now, _, act = heapq.heappop(self._events)
            act()

    @property
    def finished(self) -> bool:
        return all(w.dead or not (w.waiting or w.limiter.in_flight) for w in self.workers)

    @property
    def answered(self) -> int:
        return sum(worker.answered for worker in self.workers)

    @property
    def rejected(self) -> int:
        return sum(worker.rejected for worker in self.workers)

    # --- the leader -----------------------------------------------------------------------------

    def elect(self, worker: Worker) -> None:
        """A worker leads from now on, and all others that live connect to it."""
        leader = Leader(self.limits, ceiling=CEILING, version=VERSION, began=self.now)
        if worker.limiter.state is not None:
            age = worker.limiter.state_age(self.now)
            leader.continue_from(worker.limiter.state, age, self.now)
            leader.collect_until = self.now + 0.02
        self.leader = leader
        self._tick(leader, broadcast=True)
        for one in self.workers:
            if not one.dead:
                self.to_leader(one, one.limiter.hello(self.now))

    def depose(self) -> None:
        """The leader dies."""
        self.leader = None
        for worker in self.workers:
            worker.limiter.disconnected(self.now)

    def _tick(self, leader: Leader, *, broadcast: bool) -> None:
        if leader is not self.leader:
            return
        leader.tick(self.now)
        if broadcast and leader.granting:
            state = m.encode(leader.state(self.now))
            for worker in self.workers:
                if worker.name in leader.workers:
                    self._to_worker(worker, state)
        self.after(0.25, lambda: self._tick(leader, broadcast=not broadcast))

    def to_leader(self, worker: Worker, message: m.Message) -> None:
        line, leader = m.encode(message), self.leader
        if worker.cut or leader is None:
            return

        def deliver() -> None:
            if leader is self.leader:
                leader.receive(worker.name, m.decode(line), self.now)
                self.serve()

        self.after(self.delay, deliver)

    def serve(self) -> None:
        leader = self.leader
        if leader is None:
            return
        until = leader.grant(self.now)
        if until < math.inf and not self.now < self._serve_at <= until:
            self._serve_at = until
            self.at(until, self.serve)
        outbox, leader.outbox = leader.outbox, {}
        for worker in self.workers:
            for message in outbox.get(worker.name, ()):
                self._to_worker(worker, m.encode(message))

    def _to_worker(self, worker: Worker, line: bytes) -> None:
        self.after(self.delay, lambda: worker.receive(m.decode(line)))

    # --- the service ----------------------------------------------------------------------------

    def arrive(self, worker: Worker, ticket: Ticket) -> None:
        back = self.distance / 2 + self.random.random() * self.jitter
        if not all(hidden.room(self.now, 0) for hidden in self.hidden):
            self.after(back, lambda: worker.end(ticket, answered=False))
            return
        for hidden in self.hidden:
            hidden.take(self.now, 0)
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.after(self.seconds, lambda: self._leave(worker, ticket, back))

    def _leave(self, worker: Worker, ticket: Ticket, back: float) -> None:
        self.inside -= 1
        for hidden in self.hidden:
            hidden.leave(self.now)
        self.after(back, lambda: worker.end(ticket, answered=True))
