import json
from typing import Any

import pytest

from laplas_async.types import Balance, Model
from laplas_async.wire.catalog import closest_models, decode_balance, decode_models
from laplas_async.wire.codec import DecodeError

LLAMA = "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"
ITEM = {
    "id": LLAMA,
    "type": "chat-completion",
    "info": {"name": "Llama", "developer": "Meta", "contextLength": 128000, "maxTokens": 4096},
    "features": ["openai/chat-completion", "openai/chat-completion.function"],
    "endpoints": ["/v1/chat/completions"],
    "new": {"a": 1},
}


@pytest.mark.parametrize("body", [[ITEM], {"object": "list", "data": [ITEM]}])
def test_models_come_as_an_array_or_in_an_object(body: Any) -> None:
    (model,) = decode_models(json.dumps(body).encode())
    assert model.id == LLAMA
    assert (model.name, model.developer, model.type) == ("Llama", "Meta", "chat-completion")
    assert (model.context_length, model.max_output_tokens) == (128_000, 4_096)
    assert model.endpoints == ("/v1/chat/completions",)
    assert model.extra["new"] == {"a": 1}
    assert model.has_feature("function")
    assert model.has_feature("openai/chat-completion.function")
    assert not model.has_feature("reasoning")


@pytest.mark.parametrize(
    "item",
    [
        {"id": "m"},
        {"id": "m", "info": None, "features": None, "endpoints": "x", "created": "soon"},
        {"id": "m", "info": [], "features": [1, None], "type": 5},
    ],
)
def test_a_model_with_missing_or_odd_fields_is_a_model(item: dict[str, Any]) -> None:
    (model,) = decode_models(json.dumps([item, {"no": "id"}, 7]).encode())
    assert model == Model("m", extra=model.extra)


@pytest.mark.parametrize("body", [b"{}", b"null", b'{"data": {}}', b'"x"', b"<html>", b""])
def test_what_is_no_list_of_models_is_an_error(body: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_models(body)


def test_a_balance_is_read_with_its_unknown_fields() -> None:
    body = {"balance": "12.5", "lowBalance": True, "lowBalanceThreshold": 20, "x": 1}
    balance = decode_balance(json.dumps(body).encode())
    assert balance == Balance(12.5, low_balance=True, low_balance_threshold=20, extra={"x": 1})


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"balance": null}', b'{"balance": true}', b"x"])
def test_what_is_no_balance_is_an_error(body: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_balance(body)


KNOWN = [LLAMA, "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", "deepseek/deepseek-r1", "gpt-4o"]


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        ("meta-llama/Meta-Llama-3.1-405B-Instruct", LLAMA),
        ("Meta-Llama-3.1-405B-Instruct-Turbo", LLAMA),
        ("META-LLAMA/META-LLAMA-3.1-405B-INSTRUCT-TURBO", LLAMA),
        ("deepseek-r1", "deepseek/deepseek-r1"),
        ("gpt4o", "gpt-4o"),
    ],
)
def test_the_closest_ids_are_suggested(wanted: str, first: str) -> None:
    assert closest_models(wanted, KNOWN)[0] == first


@pytest.mark.parametrize("wanted", ["", "claude", "mistral-large-latest"])
def test_nothing_is_suggested_for_a_name_unlike_all(wanted: str) -> None:
    assert closest_models(wanted, KNOWN) == []
