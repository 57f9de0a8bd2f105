"""The service's other responses, decoded: its models, and the account's balance; pure.

Tolerant as ``wire.codec``: what is missing is None, what is unknown is kept in ``extra``. It
refuses to fetch.
"""

from collections.abc import Iterable
from typing import Any

from laplas_async.types import Balance, Model
from laplas_async.wire.codec import DecodeError, loads, quote

_SUGGESTIONS = 3
# Names of models share a vendor's prefix, so that unrelated ones are alike by a third; a slip of
# the pen ("Llama-3.1-405B" for the whole name) by more than half. Fixed by test_catalog.
_LEAST_LIKENESS = 0.5

_BALANCE = {
    "lowBalance": "low_balance",
    "lowBalanceThreshold": "low_balance_threshold",
    "lastUpdated": "last_updated",
    "autoDebitStatus": "auto_debit_status",
    "status": "status",
    "statusExplanation": "status_explanation",
}


def decode_models(data: bytes) -> list[Model]:
    """The models in a body: an array, or an object with ``data``. Raises ``DecodeError``."""
    body = loads(data)
    items = body.get("data") if isinstance(body, dict) else body
    if not isinstance(items, list):
        raise DecodeError(f"not a list of models: {quote(body)}")
    return [
        _model(item) for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)
    ]


def _model(item: dict[str, Any]) -> Model:
    info = item.get("info")
    info = info if isinstance(info, dict) else {}
    known = ("id", "type", "features", "endpoints", "created")
    return Model(
        id=item["id"],
        type=_text(item.get("type")),
        name=_text(info.get("name")),
        developer=_text(info.get("developer")) or _text(item.get("owned_by")),
        description=_text(info.get("description")),
        context_length=_count(info.get("contextLength")),
        max_output_tokens=_count(info.get("maxTokens")),
        features=_texts(item.get("features")),
        endpoints=_texts(item.get("endpoints")),
        created=_count(item.get("created")),
        extra={name: value for name, value in item.items() if name not in known},
    )


def decode_balance(data: bytes) -> Balance:
    """The balance in a body. Raises ``DecodeError``."""
    body = loads(data)
    credits_ = body.get("balance") if isinstance(body, dict) else None
    if isinstance(credits_, str):
        try:
            credits_ = float(credits_)
        except ValueError:
            credits_ = None
    if isinstance(credits_, bool) or not isinstance(credits_, int | float):
        raise DecodeError(f"not a balance: {quote(body)}")
    fields = {ours: body.get(theirs) for theirs, ours in _BALANCE.items()}
    extra = {n: v for n, v in body.items() if n not in _BALANCE and n != "balance"}
    return Balance(credits_, **fields, extra=extra)


def closest_models(wanted: str, known: Iterable[str]) -> list[str]:
    """The ids most like one that is not known, the best first; also for a part of a name."""
    import difflib  # noqa: PLC0415 - only for this message

    by_key: dict[str, str] = {}
    for id_ in known:
        by_key.setdefault(id_.lower(), id_)
        by_key.setdefault(id_.rpartition("/")[2].lower(), id_)
    near = difflib.get_close_matches(
        wanted.lower(), by_key, n=2 * _SUGGESTIONS, cutoff=_LEAST_LIKENESS
    )
    return list(dict.fromkeys(by_key[key] for key in near))[:_SUGGESTIONS]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _texts(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list) else ()
    return tuple(item for item in items if isinstance(item, str))
