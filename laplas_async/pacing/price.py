"""``Price``: what tokens cost, and where that is known from. Pure arithmetic.

In this order: the service reported the cost, the user gave a price, the optional package
``genai-prices`` knows the model. Otherwise the cost is unknown: None, and never 0.
"""

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Literal

from attrs import frozen

from laplas_async.errors import ConfigError
from laplas_async.pacing.reservation import DEFAULT_MAX_TOKENS, RequestSize
from laplas_async.types import Cost, Usage

CostSource = Literal["reported", "price", "genai-prices"]
"""Where a cost is known from: the service, the price that was given, or that package."""

_MILLION = 1_000_000
# Some models cost more per token in long prompts; a cap has to hold in the dearer range as well.
_FEW, _MANY = 1_000, _MILLION


@frozen
class Price:
    """What tokens cost, in US dollars per million: those of the prompt, and those generated.

    Raises ``ConfigError`` for what is no amount of money.
    """

    input: float
    output: float

    def __attrs_post_init__(self) -> None:
        for name in ("input", "output"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value < 1e9:
                raise ConfigError(
                    f"Price.{name}={value!r}: must be US dollars per million tokens, at least 0"
                )

    def of(self, usage: Usage) -> float:
        """The cost of a response in US dollars."""
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / _MILLION

    def worst_case(self, size: RequestSize) -> float:
        """What one attempt can cost at most, in US dollars: a token is at least a byte of text.

        Without ``max_tokens`` the service's documented default bounds the completion. Images that
        the request only links to are more than their address; their tokens are not foreseen.
        """
        most = DEFAULT_MAX_TOKENS if size.max_tokens is None else size.max_tokens
        return (size.body_bytes * self.input + most * size.choices * self.output) / _MILLION


Pricing = Price | Mapping[str, Price]
"""One price for all models, or one for each model by its name."""


class Prices:
    """The prices of models: those given, then those of ``genai-prices``, if it is installed.

    That package is imported here, and not while calls are made: it takes most of a second. Raises
    ``ConfigError`` for what are no prices.
    """

    def __init__(self, pricing: Pricing | None = None) -> None:
        if isinstance(pricing, Mapping):
            for model, price in pricing.items():
                if not isinstance(price, Price):
                    raise ConfigError(f"price[{model!r}]={price!r}: must be a Price")
        elif pricing is not None and not isinstance(pricing, Price):
            raise ConfigError(f"price={pricing!r}: must be a Price, or one by model")
        self._pricing = pricing
        self._published = None if isinstance(pricing, Price) else _published_prices()

    @property
    def by_model(self) -> bool:
        """Whether prices were given for each model apart."""
        return isinstance(self._pricing, Mapping)

    def of(self, model: str) -> Price | None:
        """The price of a model; None if it is unknown."""
        if (price := self._given(model)) is not None or self._published is None:
            return price
        few, many = (_published(self._published, model, tokens) for tokens in (_FEW, _MANY))
        if few is None or many is None:
            return None
        return Price(max(few.input, many.input), max(few.output, many.output))

    def cost(
        self, model: str, usage: Usage | None, reported: Cost | None
    ) -> tuple[float, CostSource] | None:
        """What a response cost in US dollars, and where that is known from; None: unknown.

        A usage of no tokens at all is none: no response took nothing.
        """
        if reported is not None and reported.usd_spent is not None:
            return reported.usd_spent, "reported"
        if usage is None or not (usage.prompt_tokens or usage.completion_tokens):
            return None
        if (price := self._given(model)) is not None:
            return price.of(usage), "price"
        if self._published is not None:
            cost = _published_cost(
                self._published, model, usage.prompt_tokens, usage.completion_tokens
            )
            return None if cost is None else (cost, "genai-prices")
        return None

    def _given(self, model: str) -> Price | None:
        pricing = self._pricing
        return pricing.get(model) if isinstance(pricing, Mapping) else pricing


def _published_prices() -> ModuleType | None:
    try:
        return import_module("genai_prices")
    except ImportError:
        return None


def _published(module: ModuleType, model: str, tokens: int) -> Price | None:
    """The prices of a call of so many tokens, per million."""
    prompt = _published_cost(module, model, tokens, 0)
    completion = _published_cost(module, model, 0, tokens)
    if prompt is None or completion is None:
        return None
    return Price(prompt * _MILLION / tokens, completion * _MILLION / tokens)


def _published_cost(
    module: ModuleType, model: str, prompt_tokens: int, completion_tokens: int
) -> float | None:
    usage = module.Usage(input_tokens=prompt_tokens, output_tokens=completion_tokens)
    try:
        return float(module.calc_price(usage, model_ref=model).total_price)
    except LookupError:  # it does not know the model
        return None
