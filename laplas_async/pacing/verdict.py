"""From the evidence of one rejection to a named verdict with its reason; a pure function."""

import math
from enum import Enum

from attrs import frozen

from laplas_async.pacing.ledger import Held

__all__ = ["Cause", "Evidence", "Held", "judge"]


class Cause(Enum):
    """What a rejection is taken for."""

    CONCURRENCY = "more at once than the service takes"
    LEVEL = "the number at once is lower than believed"
    RATE = "faster than the service takes"
    WINDOW = "a window's number was used up"
    COUNT = "a window's number is lower than believed"
    UNKNOWN = "not explained by what is believed"


@frozen
class Evidence:
    """What is known at a rejection.

    ``held``: what the request had waited for. ``lessons``: rejections one after the other with
    nothing accepted between. ``trial``: it ended the first opening after a closure.
    ``accepted``: since that opening, ``early``: too few for the window's cycle,
    ``trying``: one more than its number was tried.
    ``longer_accepted``: in the longer window's cycle. ``refill``: the most that a bucket could
    have taken. ``feasible``: whether a limit on the number at once explains all rejections.
    ``completed``: whether a request had ended between closing and reopening. ``number``: of the
    believed window.
    """

    held: Held
    lessons: int
    trial: bool
    accepted: int
    early: bool
    trying: bool
    longer_accepted: int
    refill: float
    feasible: bool
    completed: bool
    number: float
    rate: bool


def judge(evidence: Evidence) -> Cause:
    """Name the cause."""
    e = evidence
    if e.trial:
        if e.feasible and e.completed:
            return Cause.CONCURRENCY
        return Cause.WINDOW if e.accepted > e.refill + 1 else Cause.RATE
    if e.lessons > 1:
        return Cause.UNKNOWN
    if e.held is Held.PLACES:
        return Cause.LEVEL
    if e.held is Held.LONGER:
        return Cause.COUNT if e.longer_accepted else Cause.UNKNOWN
    if e.held is Held.WINDOW:
        if e.rate and not e.trying:
            return Cause.RATE
        return Cause.UNKNOWN if e.early else Cause.COUNT
    if e.held is Held.PACE:
        return Cause.RATE
    if e.number < math.inf and e.accepted >= e.number / 4:
        return Cause.COUNT
    return Cause.RATE if e.rate else Cause.UNKNOWN
