"""What tokens cost, and where that is known from."""

import sys
from decimal import Decimal
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from attrs import frozen

from laplas_async.errors import ConfigError
from laplas_async.pacing.price import Price, Prices
from laplas_async.pacing.reservation import RequestSize
from laplas_async.types import Cost, Usage

PRICE = Price(input=1.0, output=9.0)
USED = Usage(prompt_tokens=20, completion_tokens=20, total_tokens=40)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two names of ``genai-prices`` that are used: "long" is dearer from 200,000 tokens on."""

    @frozen
    class PublishedUsage:
        input_tokens: int
        output_tokens: int

    def calc_price(usage: PublishedUsage, model_ref: str) -> SimpleNamespace:
        if model_ref not in {"known", "long"}:
            raise LookupError(model_ref)
        rate = 2 if model_ref == "long" and usage.input_tokens > 200_000 else 1
        dollars = Decimal(rate * usage.input_tokens + 3 * usage.output_tokens) / 1_000_000
        return SimpleNamespace(total_price=dollars)

    module: Any = ModuleType("genai_prices")
    module.Usage, module.calc_price = PublishedUsage, calc_price
    monkeypatch.setitem(sys.modules, "genai_prices", module)


@pytest.fixture
def unpublished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)


def test_the_worst_case_is_each_byte_a_token_and_all_tokens_used() -> None:
    assert PRICE.worst_case(RequestSize(100, max_tokens=100)) == pytest.approx(0.001)
    assert PRICE.worst_case(RequestSize(0, max_tokens=None)) == pytest.approx(512 * 9 / 1e6)
    assert PRICE.worst_case(RequestSize(0, max_tokens=100, choices=3)) == pytest.approx(0.0027)


@pytest.mark.parametrize("value", [-1, True, None, "5", float("nan"), float("inf")])
def test_a_price_must_be_an_amount(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"Price\.output="):
        Price(1.0, value)


@pytest.mark.parametrize("pricing", [5.0, {"m": 5.0}, "m"])
def test_prices_must_be_prices(pricing: Any) -> None:
    with pytest.raises(ConfigError, match="must be a Price"):
        Prices(pricing)


@pytest.mark.usefixtures("published")
def test_the_order_is_reported_then_given_then_published_then_unknown() -> None:
    reported = Cost(usd_spent=0.5)
    given, by_model, nothing = Prices(PRICE), Prices({"a": PRICE}), Prices()
    assert given.cost("known", USED, reported) == (0.5, "reported")
    assert given.cost("known", USED, None) == (PRICE.of(USED), "price")
    assert by_model.cost("a", USED, Cost(credits_used=7.0)) == (PRICE.of(USED), "price")
    assert by_model.cost("known", USED, None) == (80 / 1e6, "genai-prices")
    assert nothing.cost("known", USED, None) == (80 / 1e6, "genai-prices")
    assert nothing.cost("other", USED, None) is None
    assert nothing.of("other") is None


@pytest.mark.usefixtures("published")
def test_the_cap_counts_on_the_dearer_range_of_a_published_price() -> None:
    known, long = Prices().of("known"), Prices().of("long")
    assert known is not None
    assert long is not None
    assert [known.input, known.output] == pytest.approx([1.0, 3.0])
    assert [long.input, long.output] == pytest.approx([2.0, 3.0])


@pytest.mark.usefixtures("unpublished")
def test_without_the_package_an_unknown_price_is_none_and_never_zero() -> None:
    assert Prices().of("known") is None
    assert Prices().cost("known", USED, None) is None
    assert Prices({"a": PRICE}).of("b") is None


@pytest.mark.parametrize("usage", [None, Usage()])
def test_a_cost_without_a_usage_is_unknown(usage: Usage | None) -> None:
    assert Prices(PRICE).cost("m", usage, None) is None
    assert Prices(PRICE).cost("m", usage, Cost(usd_spent=0.0)) == (0.0, "reported")
