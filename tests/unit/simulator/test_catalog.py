"""The list of models and the balance in the service's own shape."""

from laplas_async.simulator.catalog import MODEL, balance, models


def test_every_model_has_the_fields_of_the_service() -> None:
    body = models()
    assert body["object"] == "list"
    chat = [model for model in body["data"] if model["type"] == "chat-completion"]
    assert chat[0]["id"] == MODEL
    for model in chat:
        assert model["info"]["contextLength"] >= model["info"]["maxTokens"] > 0
        assert "openai/chat-completion.stream" in model["features"]


def test_not_every_model_is_for_chat() -> None:
    """Clients must not assume that a listed model has an ``info``."""
    assert any(model["type"] != "chat-completion" for model in models()["data"])


def test_a_low_balance_is_reported() -> None:
    assert (balance(50_000)["lowBalance"], balance(50_000)["balance"]) == (False, 50_000)
    assert (balance(12.5)["lowBalance"], balance(12.5)["status"]) == (True, "low")
