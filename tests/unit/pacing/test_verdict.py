"""One row of the table for each cause."""

import math

import pytest
from attrs import evolve

from laplas_async.pacing.verdict import Cause, Evidence, Held, judge

FIRST = Evidence(
    held=Held.NOTHING,
    lessons=1,
    trial=False,
    accepted=5,
    early=False,
    trying=False,
    longer_accepted=5,
    refill=math.inf,
    feasible=False,
    completed=False,
    number=math.inf,
    rate=False,
)
TRIAL = evolve(FIRST, trial=True, refill=1.5)


@pytest.mark.parametrize(
    ("evidence", "cause"),
    [
        (FIRST, Cause.UNKNOWN),
        (evolve(FIRST, lessons=2, held=Held.PACE), Cause.UNKNOWN),
        (evolve(FIRST, held=Held.PLACES), Cause.LEVEL),
        (evolve(FIRST, held=Held.PACE, rate=True), Cause.RATE),
        (evolve(FIRST, held=Held.WINDOW, number=60.0), Cause.COUNT),
        (evolve(FIRST, held=Held.WINDOW, number=60.0, early=True), Cause.UNKNOWN),
        (evolve(FIRST, held=Held.WINDOW, number=60.0, rate=True), Cause.RATE),
        (evolve(FIRST, held=Held.WINDOW, number=60.0, rate=True, trying=True), Cause.COUNT),
        (evolve(FIRST, held=Held.LONGER), Cause.COUNT),
        (evolve(FIRST, held=Held.LONGER, longer_accepted=0), Cause.UNKNOWN),
        (evolve(TRIAL, accepted=1), Cause.RATE),
        (evolve(TRIAL, accepted=60), Cause.WINDOW),
        (evolve(TRIAL, accepted=4, feasible=True, completed=True), Cause.CONCURRENCY),
        (evolve(TRIAL, accepted=1, feasible=True), Cause.RATE),
    ],
    ids=str,
)
def test_the_evidence_names_the_cause(evidence: Evidence, cause: Cause) -> None:
    assert judge(evidence) is cause
