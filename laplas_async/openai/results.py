"""The API's objects, with openai's fields in openai's order; how they are read is ``Model``'s."""

from collections.abc import Mapping
from typing import Any, ClassVar

from laplas_async.openai.result_model import Model

BaseModel = Model


class CompletionTokensDetails(Model):
    accepted_prediction_tokens: int | None
    audio_tokens: int | None
    reasoning_tokens: int | None
    rejected_prediction_tokens: int | None


class PromptTokensDetails(Model):
    audio_tokens: int | None
    cached_tokens: int | None


class CompletionUsage(Model):
    completion_tokens: int
    prompt_tokens: int
    total_tokens: int
    completion_tokens_details: CompletionTokensDetails | None
    prompt_tokens_details: PromptTokensDetails | None
    _nested = {
        "completion_tokens_details": CompletionTokensDetails,
        "prompt_tokens_details": PromptTokensDetails,
    }


class TopLogprob(Model):
    token: str
    bytes: list[int] | None
    logprob: float


class ChatCompletionTokenLogprob(Model):
    token: str
    bytes: list[int] | None
    logprob: float
    top_logprobs: list[TopLogprob]
    _nested = {"top_logprobs": TopLogprob}


class ChoiceLogprobs(Model):
    content: list[ChatCompletionTokenLogprob] | None
    refusal: list[ChatCompletionTokenLogprob] | None
    _nested = {"content": ChatCompletionTokenLogprob, "refusal": ChatCompletionTokenLogprob}


class FunctionCall(Model):
    arguments: str
    name: str


class Function(Model):
    arguments: str
    name: str


class ChatCompletionMessageFunctionToolCall(Model):
    id: str
    function: Function
    type: str
    _nested = {"function": Function}


ChatCompletionMessageToolCall = ChatCompletionMessageFunctionToolCall


class ChatCompletionMessage(Model):
    content: str | None
    refusal: str | None
    role: str
    annotations: list[Any] | None
    audio: Any
    function_call: FunctionCall | None
    tool_calls: list[ChatCompletionMessageFunctionToolCall] | None
    _nested: ClassVar[Mapping[str, type[Model]]] = {
        "function_call": FunctionCall,
        "tool_calls": ChatCompletionMessageFunctionToolCall,
    }


class Choice(Model):
    finish_reason: str
    index: int
    logprobs: ChoiceLogprobs | None
    message: ChatCompletionMessage
    _nested: ClassVar[Mapping[str, type[Model]]] = {
        "logprobs": ChoiceLogprobs,
        "message": ChatCompletionMessage,
    }


class ChatCompletion(Model):
    id: str
    choices: list[Choice]
    created: int
    model: str
    object: str
    service_tier: str | None
    system_fingerprint: str | None
    usage: CompletionUsage | None
    _nested: ClassVar[Mapping[str, type[Model]]] = {"choices": Choice, "usage": CompletionUsage}


class ParsedFunction(Function):
    parsed_arguments: Any


class ParsedFunctionToolCall(ChatCompletionMessageFunctionToolCall):
    _nested = {"function": ParsedFunction}


class ParsedChatCompletionMessage(ChatCompletionMessage):
    parsed: Any
    _nested = {"function_call": FunctionCall, "tool_calls": ParsedFunctionToolCall}


class ParsedChoice(Choice):
    _nested = {"logprobs": ChoiceLogprobs, "message": ParsedChatCompletionMessage}


class ParsedChatCompletion(ChatCompletion):
    _nested = {"choices": ParsedChoice, "usage": CompletionUsage}


class ChoiceDeltaFunctionCall(Model):
    arguments: str | None
    name: str | None


class ChoiceDeltaToolCallFunction(Model):
    arguments: str | None
    name: str | None


class ChoiceDeltaToolCall(Model):
    index: int
    id: str | None
    function: ChoiceDeltaToolCallFunction | None
    type: str | None
    _nested = {"function": ChoiceDeltaToolCallFunction}


class ChoiceDelta(Model):
    content: str | None
    function_call: ChoiceDeltaFunctionCall | None
    refusal: str | None
    role: str | None
    tool_calls: list[ChoiceDeltaToolCall] | None
    _nested = {"function_call": ChoiceDeltaFunctionCall, "tool_calls": ChoiceDeltaToolCall}


class ChunkChoice(Model):
    delta: ChoiceDelta
    finish_reason: str | None
    index: int
    logprobs: ChoiceLogprobs | None
    _nested = {"delta": ChoiceDelta, "logprobs": ChoiceLogprobs}


ChunkChoice.__name__ = ChunkChoice.__qualname__ = "Choice"  # its name, and so its repr, there


class ChatCompletionChunk(Model):
    x_groq = None  # where Groq's service puts the usage; None there too until the last chunk
    id: str
    choices: list[ChunkChoice]
    created: int
    model: str
    object: str
    service_tier: str | None
    system_fingerprint: str | None
    usage: CompletionUsage | None
    _nested = {"choices": ChunkChoice, "usage": CompletionUsage}


class ModelInfo(Model):
    id: str
    created: int
    object: str
    owned_by: str


ModelInfo.__name__ = ModelInfo.__qualname__ = "Model"
