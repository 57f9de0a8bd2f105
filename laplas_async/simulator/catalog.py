"""The service's other endpoints: the list of its models, and the balance of an account.

Pure. A handful of models in the service's own shape; it refuses to be complete.
"""

from typing import Any, Final

MODEL: Final = "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"
_CHAT: Final = (
    "openai/chat-completion",
    "openai/chat-completion.stream",
    "openai/chat-completion.stop",
    "openai/chat-completion.message.system",
)
_TOOLS: Final = (
    "openai/chat-completion.function",
    "openai/chat-completion.parallel-tool-calls",
    "openai/chat-completion.response-format",
)
# Credits below which the service warns; its own default.
_LOW_BALANCE: Final = 10_000
# id, developer, context length, output maximum, features
_MODELS: Final = (
    (MODEL, "Meta", 128_000, 4_096, _CHAT + _TOOLS),
    ("meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo", "Meta", 128_000, 4_096, _CHAT + _TOOLS),
    ("meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", "Meta", 128_000, 4_096, _CHAT),
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", "Mistral AI", 32_768, 4_096, _CHAT),
    (
        "deepseek/deepseek-r1",
        "DeepSeek",
        128_000,
        32_768,
        (*_CHAT, "openai/chat-completion.reasoning"),
    ),
)


def models() -> dict[str, Any]:
    """Return the body of ``GET /v1/models``."""
    chat = [
        {
            "id": id_,
            "type": "chat-completion",
            "object": "model",
            "created": 1_721_692_800,
            "owned_by": developer,
            "info": {
                "name": id_.rpartition("/")[2],
                "developer": developer,
                "contextLength": context,
                "maxTokens": output,
            },
            "features": list(features),
            "endpoints": ["/v1/chat/completions"],
        }
        for id_, developer, context, output, features in _MODELS
    ]
    image = {"id": "flux/schnell", "type": "image", "object": "model", "features": []}
    return {"object": "list", "data": [*chat, image]}


def balance(credits_left: float) -> dict[str, Any]:
    """Return the body of ``GET /v1/billing/balance``."""
    low = credits_left < _LOW_BALANCE
    return {
        "balance": credits_left,
        "lowBalance": low,
        "lowBalanceThreshold": _LOW_BALANCE,
        "lastUpdated": "2026-11-25T08:00:00.000Z",
        "autoDebitStatus": "disabled",
        "status": "low" if low else "current",
        "statusExplanation": "Balance is low" if low else "Balance is current and up to date",
    }
