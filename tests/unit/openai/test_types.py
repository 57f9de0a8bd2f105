"""Programs import types from everywhere in openai: each import works, and means what it says."""

import importlib
import inspect
from typing import Any

import pytest

from laplas_async import openai
from laplas_async.openai.types.chat import ChatCompletionChunk

IMPORTS = [
    ("types.chat", "ChatCompletion"),
    ("types.chat", "ChatCompletionMessageToolCallUnion"),
    ("types.chat.chat_completion", "Choice"),
    ("types.chat.chat_completion_chunk", "ChoiceDeltaToolCall"),
    ("types.chat.chat_completion_message", "ChatCompletionMessage"),
    ("types.chat.chat_completion_message_function_tool_call", "Function"),
    ("types.chat.chat_completion_message_tool_call", "ChatCompletionMessageFunctionToolCall"),
    ("types.chat.chat_completion_message_tool_call_param", "Function"),
    ("types.chat.chat_completion_content_part_image_param", "ImageURL"),
    ("types.chat.chat_completion_tool_param", "ChatCompletionToolParam"),
    ("types.chat.chat_completion_token_logprob", "TopLogprob"),
    ("types.chat.completion_create_params", "ResponseFormat"),
    ("types.chat.parsed_chat_completion", "ParsedChatCompletion"),
    ("types.completion_usage", "CompletionUsage"),
    ("types.create_embedding_response", "CreateEmbeddingResponse"),
    ("types", "ChatModel"),
    ("types", "Embedding"),
    ("types.responses", "Response"),
    ("types.responses", "ResponseTextDeltaEvent"),
    ("types.shared", "ReasoningEffort"),
    ("types.shared.chat_model", "ChatModel"),
    ("types.shared_params", "FunctionDefinition"),
    ("types.shared_params.response_format_json_schema", "JSONSchema"),
    ("lib.azure", "AsyncAzureOpenAI"),
    ("lib.streaming.chat", "ContentDeltaEvent"),
    ("lib.streaming.chat", "AsyncChatCompletionStreamManager"),
    ("resources", "AsyncChat"),
    ("resources.chat", "AsyncCompletions"),
    ("resources.chat.completions", "AsyncCompletions"),
    ("_types", "NOT_GIVEN"),
    ("_exceptions", "RateLimitError"),
    ("_streaming", "AsyncStream"),
    ("_client", "AsyncOpenAI"),
    ("_base_client", "AsyncHttpxClientWrapper"),
    ("error", "ServiceUnavailableError"),
]


@pytest.mark.parametrize(("module", "name"), IMPORTS)
def test_a_name_is_where_programs_import_it_from(module: str, name: str) -> None:
    imported = importlib.import_module(f"laplas_async.openai.{module}")
    assert getattr(imported, name) is not None
    with pytest.raises(AttributeError):
        imported.no_such_name  # noqa: B018


def test_what_is_sent_is_a_dict() -> None:
    params = importlib.import_module("laplas_async.openai.types.chat.chat_completion_tool_param")
    assert params.ChatCompletionToolParam(type="function") == {"type": "function"}
    image = importlib.import_module(
        "laplas_async.openai.types.chat.chat_completion_content_part_image_param"
    )
    assert image.ImageURL(url="data:") == {"url": "data:"}


def test_a_module_of_results_has_the_same_classes_as_its_package() -> None:
    chat = openai.types.chat
    chunk = importlib.import_module("laplas_async.openai.types.chat.chat_completion_chunk")
    assert chunk.ChatCompletionChunk is chat.ChatCompletionChunk
    calls = importlib.import_module(
        "laplas_async.openai.types.chat.chat_completion_message_tool_call"
    )
    assert calls.ChatCompletionMessageToolCall is chat.ChatCompletionMessageToolCall


@pytest.mark.parametrize("name", ["Embedding", "ImagesResponse", "Completion"])
def test_types_of_other_endpoints_are_never_met_and_say_so(name: str) -> None:
    cls: Any = getattr(openai.types, name)
    assert not isinstance({}, cls)
    assert getattr(openai.types, name) is cls
    with pytest.raises(openai.UnsupportedError, match=r"use client\.chat\.completions"):
        cls()


def test_a_stream_can_be_named_with_its_chunks() -> None:
    for name in (openai.AsyncStream[ChatCompletionChunk], openai.Stream[ChatCompletionChunk]):
        assert "ChatCompletionChunk" in repr(name)
    with pytest.raises(openai.UnsupportedError, match="AsyncStream"):
        openai.Stream()


@pytest.mark.parametrize("method", ["create", "parse", "stream"])
def test_a_methods_signature_lists_what_it_takes(method: str) -> None:
    """AstrBot, langchain and litellm decide by it which arguments to pass."""
    client = openai.AsyncOpenAI(api_key="any-key")
    names = inspect.signature(getattr(client.chat.completions, method)).parameters
    assert {"messages", "model", "temperature", "tools", "max_completion_tokens", "user"} <= set(
        names
    )
    assert "self" not in names


def test_the_clients_of_together_and_groq_are_this_one() -> None:
    assert openai.AsyncTogether is openai.AsyncGroq is openai.AsyncOpenAI
    assert openai.TogetherError is openai.GroqError is openai.OpenAIError
    assert openai.error.RateLimitError is openai.RateLimitError
    for cls in (openai.Together, openai.Groq):
        with pytest.raises(openai.UnsupportedError, match="AsyncOpenAI"):
            cls()


def test_constants_have_openais_values() -> None:
    assert openai.DEFAULT_MAX_RETRIES == 2
    assert (openai.DEFAULT_TIMEOUT.read, openai.DEFAULT_TIMEOUT.connect) == (600, 5.0)
    assert openai.__version__ == openai.VERSION
