"""Usage and cost summed over several requests; what is unknown stays unknown."""

from attrs import define

from laplas_async.types import ChatCompletion, Cost, Usage


@define
class Spending:
    """What several requests used and cost. ``usage`` and ``cost`` are None while none is known."""

    usage: Usage | None = None
    cost: Cost | None = None
    requests: int = 0

    @property
    def tokens(self) -> int:
        """All tokens so far, as reported."""
        return 0 if self.usage is None else self.usage.total_tokens

    def add(self, completion: ChatCompletion) -> None:
        """Add one response."""
        self.requests += 1
        if (more := completion.usage) is not None:
            old = self.usage or Usage()
            self.usage = Usage(
                prompt_tokens=old.prompt_tokens + more.prompt_tokens,
                completion_tokens=old.completion_tokens + more.completion_tokens,
                total_tokens=old.total_tokens
                + (more.total_tokens or more.prompt_tokens + more.completion_tokens),
            )
        if (cost := completion.cost) is not None:
            known = self.cost or Cost()
            self.cost = Cost(
                credits_used=_sum(known.credits_used, cost.credits_used),
                usd_spent=_sum(known.usd_spent, cost.usd_spent),
            )


def _sum(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other
