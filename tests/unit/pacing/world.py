"""A service with a hidden limit, clients at some distance, and their jobs, in virtual time.

``World.run`` plays a job event by event through a limiter alone (no asyncio, no sockets) and
``World.possible`` is the time of an oracle that knows the limit: it sends each call at the first
moment at which it is let in, and pays one round trip for each call of a place.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterator
from typing import Literal

from attrs import define, field

from laplas_async.pacing.ledger import Ticket
from laplas_async.pacing.limiter import Limiter
from tests.unit.pacing.hidden import Hidden, Together

Answer = Callable[[random.Random], float]
Cost = Callable[[random.Random], float]


def constant(seconds: float) -> Answer:
    return lambda _: seconds


def log_normal(median: float, sigma: float, most: float = math.inf) -> Answer:
    return lambda rng: min(most, median * math.exp(rng.gauss(0.0, sigma)))


def exponential(mean: float) -> Answer:
    return lambda rng: rng.expovariate(1 / mean)


# As with large models: a median of 6 s, and one in forty takes about 40 s.
LONG = log_normal(6.0, 0.9, most=45.0)


QUICK = constant(0.2)
NO_COST = constant(0)


@define
class Rival:
    """Another program that takes half of the same limit, for ``on`` of every ``on + off`` seconds.

    ``gap``: seconds between two of its requests; ``seconds``: how long each of them takes.
    """

    gap: float
    seconds: float = 0.2
    on: float = 15.0
    off: float = 15.0
    first: float = 8.0


@define
class World:
    """One job. ``limits`` makes the hidden limit anew, given a phase between 0 and 1."""

    name: str
    limits: Callable[[float], list[Hidden]]
    calls: int
    answer: Answer = QUICK
    distance: float = 0.002  # seconds there and back
    jitter: float = 0.0  # each way takes up to so much of it longer
    stream: float | None = None  # seconds to the first content; None: plain calls
    cost: Cost = NO_COST
    retry_after: bool = False
    scale: tuple[float, float] | None = None  # the share of the job done, and the factor then
    rival: Rival | None = None
    clients: int = 1
    down: tuple[float, float] = (0.0, 0.0)  # all requests fail between these
    least: float = 0.90  # the target: share of the possible throughput, rejections per answer
    most: float = 0.05
    bound: float = 20.0  # gives up after so many times what is possible

    def durations(self, seed: int) -> tuple[list[float], list[int]]:
        rng = random.Random(seed * 7919 + 1)
        return (
            [self.answer(rng) for _ in range(self.calls)],
            [int(self.cost(rng)) for _ in range(self.calls)],
        )

    def hidden(self, seed: int) -> Together:
        return Together(self.limits(random.Random(seed * 104729 + 2).random()))

    def possible(self, seed: int) -> tuple[float, float | None]:
        """The oracle's seconds, and the moment at which the limit moves."""
        seconds, moment = self._ideal(seed, None)
        if self.scale is None:
            return seconds, None
        return self._ideal(seed, moment)

    def _ideal(self, seed: int, moment: float | None) -> tuple[float, float | None]:
        limit = self.hidden(seed)
        durations, costs = self.durations(seed)
        part = self.scale[0] if self.scale else 0.5
        now = end = 0.0
        running: list[float] = []
        rivals = self.rival_starts()
        halfway: float | None = moment
        rival_next = next(rivals)
        for number, (duration, cost) in enumerate(zip(durations, costs, strict=True)):
            while True:
                event = min(rival_next, running[0] if running else math.inf)
                if moment is not None and moment <= now:
                    limit.scale(self.scale[1] if self.scale else 1.0, now)
                    moment = None
                if running and running[0] <= now:
                    heapq.heappop(running)
                    limit.leave(now)
                    continue
                if rival_next <= now:
                    if limit.room(now, 0):
                        limit.take(now, 0)
                        heapq.heappush(running, now + (self.rival.seconds if self.rival else 0))
                    rival_next = next(rivals)
                    continue
                if limit.room(now, cost):
                    break
                at = limit.free_at(now, cost)
                at = min(at if at > now else math.inf, event, moment or math.inf)
                assert at < math.inf, self.name
                now = max(now, at)
            limit.take(now, cost)
            heapq.heappush(running, now + duration + self.distance)
            end = max(end, now + duration + self.distance)
            if halfway is None and number >= part * self.calls:
                halfway = now
        return end, halfway

    def rival_starts(self) -> Iterator[float]:
        if self.rival is None:
            yield math.inf
            return
        begin = self.rival.first
        while True:
            at = begin
            while at < begin + self.rival.on:
                yield at
                at += self.rival.gap
            begin += self.rival.on + self.rival.off

    def run(self, limiter: Callable[[], Limiter], seed: int) -> "Outcome":
        return Run(self, limiter, seed).play()


@define
class Outcome:
    """What became of a job."""

    world: World
    possible: float
    seconds: float
    answered: int
    rejected: int
    starts: list[float] = field(factory=list)
    most_in_flight: int = 0
    failed: int = 0
    shares: list[int] = field(factory=list)  # answers of each client

    @property
    def share(self) -> float:
        return self.possible / self.seconds if self.answered >= self.world.calls else 0.0

    @property
    def excess(self) -> float:
        """Rejections, as a part of those that the target allows."""
        return self.rejected / (12 + self.world.most * self.world.calls)

    @property
    def good(self) -> bool:
        return self.share >= self.world.least and self.excess <= 1.0


Kind = Literal[
    "arrive", "first", "answer", "rejected", "failed", "leave", "rival", "move", "connect"
]


@define
class Request:
    client: int
    ticket: Ticket
    cost: int
    sent: float
    duration: float = 0.0


class Run:
    """One play of a world. Each client's driver is a limiter."""

    def __init__(self, world: World, limiter: Callable[[], Limiter], seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.limit = world.hidden(seed)
        self.durations, self.costs = world.durations(seed)
        self.limiters = [limiter() for _ in range(world.clients)]
        share = world.calls // world.clients
        # A call that was rejected goes to the head of its queue again, with its cost.
        self.queues = [
            list(reversed(self.costs[at * share : (at + 1) * share])) for at in range(world.clients)
        ]
        self.heap: list[tuple[float, int, Kind, Request | None]] = []
        self.number = 0
        self.admitted = 0  # the nth that is let in takes as long as the oracle's nth
        self.now = 0.0
        self.possible, moment = world.possible(seed)
        if moment is not None:
            self.push(moment, "move", None)
        if world.rival is not None:
            self.rivals = world.rival_starts()
            self.push(next(self.rivals), "rival", None)
        self.push(world.distance, "connect", None)
        self.wakes: list[float | None] = [0.0] * world.clients
        self.outcome = Outcome(world, self.possible, 0.0, 0, 0, shares=[0] * world.clients)

    def push(self, at: float, kind: Kind, request: Request | None) -> None:
        self.number += 1
        heapq.heappush(self.heap, (at, self.number, kind, request))

    def way(self) -> float:
        return self.world.distance / 2 * (1 + self.world.jitter * 2 * self.rng.random())

    def play(self) -> Outcome:
        world, outcome = self.world, self.outcome
        bound = 60 + world.bound * self.possible
        total = sum(map(len, self.queues))
        while outcome.answered < total:
            for client in range(world.clients):
                self.send(client)
            wake, client = min(
                (wake if wake is not None else math.inf, client)
                for client, wake in enumerate(self.wakes)
            )
            if self.heap and self.heap[0][0] <= wake:
                at, _, kind, request = heapq.heappop(self.heap)
                self.now = max(self.now, at)
                getattr(self, f"on_{kind}")(request)
            else:
                assert wake < math.inf, f"{world.name}: waits for ever"
                self.now = max(self.now, wake)
            if self.now > bound:
                break
        outcome.seconds = self.now
        return outcome

    def send(self, client: int) -> None:
        """Send what may go now, and set the client's timer."""
        limiter, queue = self.limiters[client], self.queues[client]
        while queue:
            cost = queue[-1]
            decision = limiter.decide(self.now, cost)
            if not decision.go:
                late = self.rng.random() * 0.001  # timers are never exact
                until = decision.until
                self.wakes[client] = until + late if until < math.inf else None
                return
            queue.pop()
            ticket = limiter.started(self.now, cost)
            self.outcome.starts.append(self.now)
            self.outcome.most_in_flight = max(self.outcome.most_in_flight, limiter.in_flight)
            self.push(self.now + self.way(), "arrive", Request(client, ticket, cost, self.now))
            self.now += 0.00005  # what sending costs
            if self.heap and self.heap[0][0] <= self.now:
                self.wakes[client] = self.now
                return
        self.wakes[client] = None

    def on_arrive(self, request: Request) -> None:
        world = self.world
        if world.down[0] <= self.now < world.down[1]:
            self.push(self.now + self.way(), "failed", request)
        elif not self.limit.room(self.now, request.cost):
            self.push(self.now + self.way(), "rejected", request)
            request.duration = self.limit.free_at(self.now, request.cost) - self.now
        else:
            self.limit.take(self.now, request.cost)
            request.duration = self.durations[self.admitted % len(self.durations)]
            self.admitted += 1
            if world.stream is not None:
                first = self.now + min(world.stream, request.duration)
                self.push(first + self.way(), "first", request)
            self.push(self.now + request.duration, "leave", request)

    def on_leave(self, request: Request | None) -> None:
        self.limit.leave(self.now)
        if request is not None:
            self.push(self.now + self.way(), "answer", request)

    def on_first(self, request: Request) -> None:
        self.limiters[request.client].accepted(request.ticket, self.now)

    def on_answer(self, request: Request) -> None:
        self.outcome.answered += 1
        self.outcome.shares[request.client] += 1
        limiter = self.limiters[request.client]
        limiter.accepted(request.ticket, self.now)
        limiter.ended(request.ticket, self.now)

    def on_rejected(self, request: Request) -> None:
        self.outcome.rejected += 1
        self.queues[request.client].append(request.cost)
        retry_after = None
        if self.world.retry_after:
            retry_after = 1.0 if math.isinf(request.duration) else math.ceil(request.duration)
        self.limiters[request.client].rejected(request.ticket, self.now, retry_after)

    def on_failed(self, request: Request) -> None:
        self.outcome.failed += 1
        self.queues[request.client].append(request.cost)
        self.limiters[request.client].failed(request.ticket, self.now)

    def on_move(self, _: None) -> None:
        assert self.world.scale is not None
        self.limit.scale(self.world.scale[1], self.now)

    def on_rival(self, _: None) -> None:
        assert self.world.rival is not None
        if self.limit.room(self.now, 0):
            self.limit.take(self.now, 0)
            self.push(self.now + self.world.rival.seconds, "leave", None)
        self.push(next(self.rivals), "rival", None)

    def on_connect(self, _: None) -> None:
        for limiter in self.limiters:
            limiter.connected(self.world.distance)
