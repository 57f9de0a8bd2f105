"""``Budget``: a cap in US dollars that concurrent calls cannot exceed together.

The worst case of each attempt is reserved before it is sent, and replaced by the actual cost at its
end. It refuses to guess: where no price is known, a cap is an error (``ConfigError``).
"""

import asyncio
import math
from collections import deque
from collections.abc import Iterable

from attrs import define, frozen

from laplas_async.errors import BudgetError, ConfigError
from laplas_async.pacing.price import Prices, Pricing
from laplas_async.pacing.reservation import RequestSize
from laplas_async.types import Cost, Usage

# Dollars. Sums of floats drift; a ten-millionth of a cent is nobody's money.
_ROUNDING = 1e-9


class Budget:
    """A cap on what calls may cost together; share one between clients, maps and batches.

    ``usd``: the cap in US dollars, at least 0. ``price``: one for all models, or one for each by
    its name; for others the package ``genai-prices`` is asked, if it is installed. Use it in one
    event loop. Raises ``ConfigError`` for a cap or a price that is no amount.

    ``spent`` is what calls cost, or may have cost, ``reserved`` the worst case of those in flight;
    ``may_be_billed`` is the part of ``spent`` for which no cost was reported: attempts that failed
    after being sent, streams that were left, responses without usage.
    """

    def __init__(self, usd: float, price: Pricing | None = None) -> None:
        if type(usd) not in (int, float) or not 0 <= usd < math.inf:
            raise ConfigError(f"Budget.usd={usd!r}: must be US dollars, at least 0")
        self.limit = float(usd)
        self.prices = Prices(price)
        self.spent = 0.0
        self.reserved = 0.0
        self.may_be_billed = 0.0
        self._waiting: deque[_Waiting] = deque()
        self._jobs: dict[str, float] = {}  # what is counted of each, by name

    def __repr__(self) -> str:
        """The amounts."""
        return f"Budget(limit={self.limit}, spent={self.spent:.6f}, reserved={self.reserved:.6f})"

    @property
    def left(self) -> float:
        """US dollars that are neither spent nor reserved."""
        return max(0.0, self.limit - self.spent - self.reserved)

    def claim(self, size: RequestSize, model: str) -> "Claim":
        """What each attempt of a call has to reserve. ``ConfigError`` if its price is unknown."""
        price = self.prices.of(model)
        if price is None:
            raise ConfigError(
                f"budget: no price is known for {model!r}, so the cap could not hold; pass "
                "Budget(usd, price=Price(input, output)) in US dollars per million tokens"
            )
        return Claim(self, price.worst_case(size), model)

    def count_job(self, name: str, usd: float, *, is_counted: bool = False) -> None:
        """A job, such as a batch that is resumed, has cost ``usd`` so far; count that once.

        ``is_counted``: its calls went through this budget, so it has been counted already.
        """
        more = max(0.0, usd - self._jobs.get(name, 0.0))
        self._jobs[name] = self._jobs.get(name, 0.0) + more
        if not is_counted:
            self.spent += more
            self._admit()

    def reserve(self, amount: float) -> bool:
        """Reserve the amount if there is room at once, behind those that wait. Claims call this."""
        if self._waiting or not self._fits(amount):
            return False
        self.reserved += amount
        return True

    async def wait(self, amount: float) -> None:
        """Reserve the amount once there is room, in order of arrival. Claims call this.

        Raises ``BudgetError`` if there is none and none can come. Cancelling it reserves nothing.
        """
        waiting = _Waiting(amount, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._admit()
        try:
            await waiting.future
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            elif not waiting.future.cancelled() and waiting.future.exception() is None:
                self.settle(amount, 0.0)  # admitted at the moment of its cancellation
            self._admit()
            raise

    def settle(self, reserved: float, actual: float, *, may_be_billed: bool = False) -> None:
        """Replace what was reserved by what it cost. Reservations call this."""
        self.reserved = max(0.0, self.reserved - reserved)
        if self.reserved < _ROUNDING:
            self.reserved = 0.0  # what drift has left
        self.spent += actual
        if may_be_billed:
            self.may_be_billed += actual
        self._admit()

    def _fits(self, amount: float) -> bool:
        return self.spent + self.reserved + amount <= self.limit + _ROUNDING

    def _admit(self) -> None:
        """Admit waiting attempts in arrival order; refuse those for which no room can come."""
        while self._waiting:
            first = self._waiting[0]
            if first.future.done():
                self._waiting.popleft()
            elif self._fits(first.amount):
                self._waiting.popleft()
                self.reserved += first.amount
                first.future.set_result(None)
            elif not self.reserved or self.spent + first.amount > self.limit + _ROUNDING:
                self._waiting.popleft()
                first.future.set_exception(self._error(first.amount))
            else:
                return

    def _error(self, amount: float) -> BudgetError:
        return BudgetError(
            f"the next attempt may cost up to ${amount:.6f}, and ${self.spent:.6f} of the budget "
            f"of ${self.limit:.2f} are spent; raise the budget or lower max_tokens",
            spent=self.spent,
            reserved=self.reserved,
            limit=self.limit,
        )


@frozen
class Claim:
    """The worst case that each attempt of one call reserves in one budget."""

    budget: Budget
    amount: float
    model: str

    def take(self) -> "Reservation | None":
        """Reserve it at once; None if it has to wait."""
        return Reservation(self) if self.budget.reserve(self.amount) else None

    async def wait(self) -> "Reservation":
        """Reserve it, and wait if others may return some. Raises ``BudgetError``."""
        await self.budget.wait(self.amount)
        return Reservation(self)


class Reservation:
    """The part of a budget that one attempt holds until it has ended. Settled once."""

    __slots__ = ("_claim", "_open")

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._open = True

    def settle(self, usage: Usage | None, cost: Cost | None) -> None:
        """The attempt ended with a response: count what it cost, or the worst case if unknown."""
        claim = self._claim
        known = claim.budget.prices.cost(claim.model, usage, cost)
        if known is None:
            self.keep()
        else:
            self._close(max(0.0, known[0]))  # no response gives money back

    def release(self) -> None:
        """Nothing was charged: the request was refused, or not sent."""
        self._close(0.0)

    def keep(self) -> None:
        """It may have been charged: count the worst case."""
        self._close(self._claim.amount, may_be_billed=True)

    def _close(self, actual: float, *, may_be_billed: bool = False) -> None:
        if self._open:
            self._open = False
            self._claim.budget.settle(self._claim.amount, actual, may_be_billed=may_be_billed)


@define(eq=False)
class _Waiting:
    amount: float
    future: asyncio.Future[None]


def claims_of(budgets: Iterable[Budget | None], size: RequestSize, model: str) -> tuple[Claim, ...]:
    """The claims of a call on its budgets, each once.

    They are always in the same order: two calls that hold one of two budgets each would otherwise
    wait for each other for good.
    """
    different = {id(budget): budget for budget in budgets if budget is not None}
    return tuple(different[key].claim(size, model) for key in sorted(different))
