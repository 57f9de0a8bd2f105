"""The kinds of hidden limits, with parameters: what the limiter is judged by."""

from attrs import evolve

from tests.unit.pacing.hidden import Bucket, FixedWindow, Places, SlidingLog
from tests.unit.pacing.world import LONG, Rival, World, constant, exponential, log_normal

FAR = {"distance": 0.15, "jitter": 0.2}


def bucket(rate: float, burst: float, **extra: object) -> list[World]:
    return [World(f"bucket {rate:g}/s b {burst:g}", lambda _: [Bucket(rate, burst)], **extra)]  # type: ignore[arg-type]


def fixed(number: int, period: float, **extra: object) -> World:
    return World(
        f"fixed {number} per {period:g} s",
        lambda phase: [FixedWindow(number, period, phase)],
        **{"least": 0.85, **extra},  # type: ignore[arg-type]
    )


def sliding(number: int, period: float, **extra: object) -> World:
    return World(
        f"sliding {number} per {period:g} s",
        lambda _: [SlidingLog(number, period)],
        **{"least": 0.85, **extra},  # type: ignore[arg-type]
    )


def places(number: int, **extra: object) -> World:
    return World(f"{number} at once", lambda _: [Places(number)], **extra)  # type: ignore[arg-type]


def named(world: World, suffix: str, **changes: object) -> World:
    return evolve(world, name=f"{world.name}, {suffix}", **changes)  # type: ignore[arg-type]


def both(name: str, parts: object, calls: int, **extra: object) -> World:
    return World(name, parts, calls, **{"least": 0.85, **extra})  # type: ignore[arg-type]


def tokens(name: str, limit: object, calls: int, **extra: object) -> World:
    cost = lambda rng: round(20 * 100 ** rng.random())  # noqa: E731
    return World(name, limit, calls, cost=cost, **{"least": 0.7, "most": 0.1, **extra})  # type: ignore[arg-type]


def build() -> list[World]:
    b = bucket
    worlds: list[World] = []
    for rate, burst, calls in (
        (20, 20, 600), (20, 1, 600), (20, 5, 600), (20, 200, 1500), (2, 1, 120), (2, 2, 200),
        (2, 20, 200), (5, 5, 300), (5, 1, 300), (100, 100, 2000), (500, 500, 5000),
        (10, 100, 600), (0.5, 1, 60), (3, 3, 150), (1, 10, 100),
    ):  # fmt: skip
        worlds += b(rate, burst, calls=calls)
    worlds += [
        named(b(20, 20, calls=600)[0], "far", **FAR),
        named(b(5, 1, calls=300)[0], "far", **FAR),
        named(b(2, 1, calls=150)[0], "far", **FAR),
        named(b(100, 100, calls=2000)[0], "far", **FAR),
        named(b(10, 40, calls=400)[0], "far", **FAR),
        named(b(2, 1, calls=120)[0], "6 s", answer=constant(6.0)),
        named(b(20, 1, calls=600)[0], "6 s", answer=constant(6.0)),
        named(b(20, 20, calls=800)[0], "long answers", answer=LONG),
        named(b(3, 3, calls=60)[0], "2 s", answer=constant(2.0)),
        named(b(20, 20, calls=600)[0], "exponential", answer=exponential(0.2)),
        named(b(20, 20, calls=600)[0], "streams", stream=0.05),
        named(b(20, 1, calls=600)[0], "streams", stream=0.05, answer=constant(4.0)),
        named(b(20, 20, calls=24_000)[0], "24,000"),
        named(b(20, 20, calls=50)[0], "50 calls", least=0.8),
        named(b(5, 5, calls=50)[0], "50 calls", least=0.8),
        named(b(2, 1, calls=50)[0], "50 calls", least=0.8),
        named(b(20, 20, calls=600)[0], "Retry-After", retry_after=True),
        named(b(5, 5, calls=300)[0], "Retry-After", retry_after=True),
    ]
    for number, period, calls in (
        (20, 1, 600), (100, 10, 1000), (30, 6, 300), (60, 60, 180), (60, 60, 600), (10, 60, 60),
        (480, 60, 2400), (30, 45, 150), (1000, 60, 5000), (200, 300, 800), (1, 1, 60), (5, 1, 200),
    ):  # fmt: skip
        worlds.append(fixed(number, period, calls=calls))
    for number, period, calls in (
        (20, 1, 600), (100, 10, 1000), (60, 60, 180), (60, 60, 600), (480, 60, 2400),
        (30, 45, 150), (200, 300, 800), (10, 6, 100),
    ):  # fmt: skip
        worlds.append(sliding(number, period, calls=calls))
    worlds += [
        named(fixed(60, 60, calls=300), "far", **FAR),
        named(sliding(100, 10, calls=1000), "far", **FAR),
        named(fixed(20, 1, calls=600), "4 s", answer=constant(4.0)),
        named(fixed(60, 60, calls=300), "long answers", answer=LONG),
        named(sliding(60, 60, calls=300), "streams", stream=0.3, answer=constant(5.0)),
        named(fixed(60, 60, calls=300), "Retry-After", retry_after=True),
        named(sliding(100, 10, calls=1000), "Retry-After", retry_after=True),
        named(fixed(20, 10, calls=50), "50 calls", least=0.8),
        named(fixed(100, 10, calls=24_000), "24,000"),
    ]
    for number, calls in ((1, 60), (2, 200), (4, 300), (16, 600), (64, 2000), (200, 4000)):
        worlds.append(places(number, calls=calls))
    uneven = log_normal(1.0, 0.7)
    worlds += [
        named(places(4, calls=300), "uneven", answer=uneven),
        named(places(16, calls=600), "uneven", answer=uneven),
        named(places(64, calls=1500), "uneven", answer=uneven),
        named(places(4, calls=100), "long answers", answer=LONG),
        named(places(16, calls=400), "long answers", answer=LONG),
        named(places(100, calls=1500), "long answers", answer=LONG),
        named(places(16, calls=600), "far", **FAR),
        named(places(64, calls=2000), "far uneven", answer=uneven, **FAR),
        named(places(16, calls=600), "streams", stream=0.05, answer=uneven),
        named(places(16, calls=600), "Retry-After", retry_after=True, answer=uneven),
        named(places(16, calls=24_000), "24,000"),
        named(places(4, calls=50), "50 calls", least=0.8),
    ]
    worlds += [
        both("10/s and 200/min", lambda p: [FixedWindow(10, 1, p), FixedWindow(200, 60, p)], 800),
        both("bucket 10/s and sliding 200/min",
             lambda _: [Bucket(10, 10), SlidingLog(200, 60)], 800),
        both("bucket 2/s and 60 per min", lambda p: [Bucket(2, 2), FixedWindow(60, 60, p)], 300),
        both("20 per s and 300 per min",
             lambda p: [FixedWindow(20, 1, p), SlidingLog(300, 60)], 1500),
        both("40/s b 10 and 4 at once", lambda _: [Bucket(40, 10), Places(4)], 300, least=0.9),
        both("10/s b 5 and 8 at once", lambda _: [Bucket(10, 5), Places(8)], 300, least=0.9),
        both("10/s b 10 and 8 at once, uneven", lambda _: [Bucket(10, 10), Places(8)], 400,
             answer=uneven, least=0.9),
        both("100/s and 16 at once", lambda _: [Bucket(100, 100), Places(16)], 800, least=0.9),
        both("60 per min and 8 at once, long answers",
             lambda p: [FixedWindow(60, 60, p), Places(8)],
             300, answer=log_normal(4, 0.5)),
    ]  # fmt: skip
    moving = {"least": 0.8, "most": 0.1}
    worlds += [
        named(b(40, 40, calls=600)[0], "to a quarter", scale=(0.5, 0.25), **moving),
        named(b(20, 20, calls=600)[0], "doubles", scale=(0.5, 2.0), **moving),
        named(b(20, 1, calls=600)[0], "doubles", scale=(0.5, 2.0), **moving),
        named(places(32, calls=1200), "to a quarter", scale=(0.5, 0.25), **moving),
        named(places(8, calls=900), "doubles", scale=(0.5, 2.0), **moving),
        named(fixed(60, 60, calls=600), "to a quarter", scale=(0.7, 0.25), **moving),
        named(fixed(100, 10, calls=1500), "doubles", scale=(0.4, 2.0), **moving),
        named(b(20, 20, calls=1000)[0], "rival", rival=Rival(0.1), **moving),
        named(places(16, calls=2000), "rival", rival=Rival(0.025), **moving),
        named(fixed(100, 10, calls=1000), "rival", rival=Rival(0.2), **moving),
        named(b(20, 20, calls=1200)[0], "two clients", clients=2, **moving),
        named(places(16, calls=2000), "two clients", clients=2, **moving),
    ]
    worlds += [
        tokens("40,000 tokens/min bucket",
               lambda _: [Bucket(40_000 / 60, 40_000, tokens=True)], 400),
        tokens("40,000 tokens/min window",
               lambda p: [FixedWindow(40_000, 60, p, tokens=True)], 600),
        tokens("40,000 tokens/min sliding", lambda _: [SlidingLog(40_000, 60, tokens=True)], 600),
        tokens("30 per min and 10,000 tokens",
               lambda p: [FixedWindow(30, 60, p), FixedWindow(10_000, 60, p, tokens=True)], 150),
    ]  # fmt: skip
    return worlds


WORLDS = build()
