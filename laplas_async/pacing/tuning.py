"""Every number that the limiter is tuned by, in one frozen record; there are no others."""

from attrs import frozen


@frozen
class Tuning:
    """Constants with their units and reasons."""

    # --- the air: when is a request that was not rejected known as accepted -------------------
    settle_first: float = 0.02  # seconds, at least, before any rejection came back
    settle_unknown: float = 1.0  # seconds, while nothing has shown the distance
    grope_first: float = 0.005  # seconds between the first two requests, the same
    settle_factor: float = 1.3  # of the slowest rejection lately
    settle_slack: float = 0.004  # seconds: timers and the event loop
    settle_most: float = 2.0  # seconds
    connects: float = 1.5  # a rejection takes about so many connects to come back
    echo_decay: float = 0.9  # of the slowest rejection, at each next one

    overtake: float = 0.3  # of a round trip: how much later a request may arrive than the next

    # --- ramp ----------------------------------------------------------------------------------
    ramp_first: float = 4.0  # requests in the first round
    ramp_share: float = 0.25  # of all accepted, in each round
    trial_serial: int = 3  # accepted one at a time after reopening
    trial_share: float = 0.5

    # --- closed --------------------------------------------------------------------------------
    probe_first: float = 0.05  # seconds after the rejection
    probe_growth_short: float = 1.0  # next gap, of the time closed so far, below a second
    probe_growth: float = 0.45
    probe_short: float = 0.7  # seconds
    probe_longest: float = 120.0
    snap: float = 0.55  # of a gap: how far a probe moves to a round period
    round_periods: tuple[float, ...] = (
        0.1, 0.2, 0.5, 1, 2, 3, 5, 6, 10, 12, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600,
    )  # fmt: skip

    # --- rate ----------------------------------------------------------------------------------
    swing: float = 0.015
    span_least: float = 8.0
    span_most: float = 50.0
    sum_most: float = 200.0
    swing_most: float = 0.3
    overdue: float = 2.0  # spans in which an overdue pace doubles
    sum_least: float = 3.0
    rate_least: float = 1 / 300  # requests a second
    burst_none: float = 1.1  # what a late timer may make up for, where there is no burst
    burst_least: float = 3.0  # below it, a burst is taken for none
    span_growth: float = 1.6
    step_back: float = 0.95
    below: float = 0.98
    early_cut: float = 0.05
    due_slack: float = 0.1  # of a window's period, the same
    pace_slack: float = 0.3  # of the interval: so late after its time a request was held by it
    timer_slack: float = 0.005  # seconds, the same

    # --- concurrency ---------------------------------------------------------------------------
    probe_after_first: int = 16
    probe_after_most: int = 80
    asked_most: float = 2.0  # seconds of Retry-After: for longer, it is not the number at once
    raise_after_accepted: int = 4  # with one more at once than is believed
    level_cut: float = 0.95  # of the limit, at a rejection above what is proven
    strikes: int = 2
    trial_gap: float = 0.7  # of the mean time between two requests
    duration_weight: float = 0.1  # of the newest, in the mean duration

    # --- window --------------------------------------------------------------------------------
    established: int = 3  # cycles
    longer: float = 3.0  # a closure of so many periods is another window's
    same: float = 1.5  # a closure of more periods does not correct an established one
    early_share: float = 0.25  # of the number: rejected before, the last cycle was not over
    doubtful_share: float = 0.85  # of the number, in the second cycle: the first was two windows
    measured_share: float = 0.5  # of the number: closed before, it was not for the window
    shorter_share: float = 0.93  # of the period: closer than that, no shorter one is tried
    round_share: float = 0.02  # of a round period: so close, a measured one is taken for it
    raise_after: int = 60  # accepted between two probes of the number

    burst_seconds: float = 20.0  # of a rate: no bucket saves up for longer
    window_closed: float = 5.0  # seconds: closed for less, that is not asked
    intervals: float = 16.0  # of a rate: closed for longer, the cause is a window
    intervals_known: float = 10.0  # of a rate: believed for less, it may be anything
    intervals_same: float = 3.0  # of a rate: closed for less, it has not moved

    # --- outage --------------------------------------------------------------------------------
    down_after: int = 10
    down_first: float = 0.5
    pause_most: float = 30.0


TUNING = Tuning()
