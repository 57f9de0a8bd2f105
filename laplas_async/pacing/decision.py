"""What a limiter answers: the next request may be sent now, or not before some moment."""

import math
from typing import ClassVar, Final

from attrs import frozen


@frozen
class Go:
    """The next request may be sent now."""

    go: ClassVar[bool] = True
    until: ClassVar[float] = -math.inf
    reason: ClassVar[str] = ""


@frozen
class Wait:
    """Not before ``until``; infinite: not before one in flight has ended. ``reason``: a phrase."""

    until: float
    reason: str
    go: ClassVar[bool] = False


GO: Final = Go()
FULL: Final = Wait(math.inf, "as many requests are in flight as may be")
PAUSED: Final = "the service asked for a pause, or is down"
PROBING: Final = "rejected for a limit: one probe at a time until the service takes more"
TRYING: Final = "the service takes requests again: finding out how many"
STARTING: Final = "no limit is known yet: sending more with each round trip"
LEARNED: Final = "a learned limit"
CONFIGURED: Final = "a configured limit"
