"""The API's values: messages, tools, completions, chunks, usage.

Plain attrs classes named as the API names them, with a few shortcuts (``completion.text``). They
refuse to validate requests (``wire.request`` does) and to read or write JSON (``wire.codec`` does).

A field that the service adds later is kept in the ``extra`` of the object that contained it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from attrs import define, field, frozen

DEFAULT_BASE_URL = "https://api.apilaplas.com/v1"
DEFAULT_MODEL = "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"

Role = Literal["system", "user", "assistant", "tool", "developer"]
# The types of content parts that hold the response's text, and the model's thoughts.
TEXT_PARTS = ("text", "output_text")
REASONING_PARTS = ("thinking", "reasoning", "reasoning_text")


# --- requests: messages and tools -------------------------------------------------------------


@frozen
class TextPart:
    """A text part of a message's content."""

    text: str
    type: str = "text"


@frozen
class ImageURL:
    """The location of an image: an ``https:`` or ``data:`` URL. ``detail``: low, high or auto."""

    url: str
    detail: str | None = None


@frozen
class ImagePart:
    """An image part of a message's content."""

    image_url: ImageURL
    type: str = "image_url"


@define
class FunctionCall:
    """The function that the model calls. ``arguments`` is JSON text as the model wrote it."""

    name: str = ""
    arguments: str = ""
    extra: dict[str, Any] = field(factory=dict)


@define
class ToolCall:
    """A tool call requested by the model; the response to it is a message of role ``tool``."""

    id: str = ""
    function: FunctionCall = field(factory=FunctionCall)
    type: str = "function"
    extra: dict[str, Any] = field(factory=dict)


@define
class Message:
    """One message of a conversation, sent or received.

    ``role`` is system, user, assistant, tool or developer. ``content`` is text, a list of parts,
    or None (an assistant that only calls tools). ``name`` distinguishes participants of one role.
    The ``tool_call_id`` of a ``tool`` message is the id of the call it responds to. A received
    message can be appended to the history as it is.
    """

    role: str = "assistant"
    content: str | Sequence[TextPart | ImagePart | Mapping[str, Any]] | None = None
    name: str | None = field(default=None, kw_only=True)
    tool_calls: list[ToolCall] | None = field(default=None, kw_only=True)
    tool_call_id: str | None = field(default=None, kw_only=True)
    refusal: str | None = field(default=None, kw_only=True)
    extra: dict[str, Any] = field(factory=dict, kw_only=True)

    @property
    def text(self) -> str:
        """The text of the content: that of its text parts, joined; "" if there is none."""
        if isinstance(self.content, str):
            return self.content
        return "".join(
            part.text if isinstance(part, TextPart) else _part_text(part)
            for part in self.content or ()
        )

    @property
    def reasoning(self) -> str | None:
        """The model's thoughts, whichever field or content part they came in; None: no such."""
        parts = self.content if isinstance(self.content, Sequence) else None
        return _reasoning(self.extra, parts)


@frozen
class FunctionDefinition:
    """A function: name (``[a-zA-Z0-9_-]{1,64}``), purpose, and a JSON schema of its parameters."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None


@frozen
class Tool:
    """A tool that the model may call. At most 128 per request."""

    function: FunctionDefinition
    type: str = "function"


@frozen
class JSONSchema:
    """The schema of the response, for ``ResponseFormat("json_schema", ...)``."""

    name: str
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


@frozen
class ResponseFormat:
    """The format of the response: ``text``, ``json_object`` or ``json_schema``."""

    type: str
    json_schema: JSONSchema | None = None


MessageLike = Message | Mapping[str, Any]
ToolLike = Tool | Mapping[str, Any]


class RequestParameters(TypedDict, total=False):
    """The request fields other than ``model`` and ``messages``, as keywords. None: not sent.

    Types and ranges are those of the service's page for the model; ``wire.request`` validates them
    before anything is sent. For other fields, use ``extra_body``.
    """

    max_tokens: int | None
    """At least 1; the service's default is 512."""
    stop: str | Sequence[str] | None
    """Up to 4 strings; the response ends before the first one that would appear."""
    stream_options: Mapping[str, Any] | None
    """``{"include_usage": bool}``, for streams; ``stream()`` requests usage by default."""
    n: int | None
    """Number of choices, at least 1."""
    seed: int | None
    """At least 1."""
    top_p: float | None
    """0.01 to 1."""
    top_k: float | None
    temperature: float | None
    """0 to 2."""
    repetition_penalty: float | None
    logprobs: bool | None
    top_logprobs: int | None
    """0 to 20, with ``logprobs=True``."""
    echo: bool | None
    """Repeat the prompt in the response."""
    min_p: float | None
    """0 to 1. The service's page gives only the maximum."""
    presence_penalty: float | None
    """-2 to 2."""
    frequency_penalty: float | None
    """-2 to 2."""
    logit_bias: Mapping[str | int, float] | None
    """Token id to -100 .. 100."""
    tools: Sequence[ToolLike] | None
    """At most 128."""
    tool_choice: str | Mapping[str, Any] | None
    """``none``, ``auto``, ``required`` or ``{"type": "function", "function": {"name": ...}}``."""
    parallel_tool_calls: bool | None
    response_format: ResponseFormat | Mapping[str, Any] | None


# --- responses --------------------------------------------------------------------------------


@define
class TopLogprob:
    """One of the most likely tokens at a position. ``bytes``: the token's UTF-8 bytes."""

    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    extra: dict[str, Any] = field(factory=dict)


@define
class TokenLogprob:
    """A token of the response, its natural-log probability, and the most likely alternatives."""

    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    top_logprobs: list[TopLogprob] = field(factory=list)
    extra: dict[str, Any] = field(factory=dict)


@define
class Logprobs:
    """Log probabilities of a choice. Shapes other than OpenAI's are kept in ``extra``."""

    content: list[TokenLogprob] | None = None
    refusal: list[TokenLogprob] | None = None
    extra: dict[str, Any] = field(factory=dict)


@define
class Usage:
    """Tokens used, as counted by the service; 0 where it reported none."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None
    extra: dict[str, Any] = field(factory=dict)

    @property
    def reasoning_tokens(self) -> int:
        """The completion tokens spent on thoughts, as far as the service reports them."""
        return _count(self.completion_tokens_details, "reasoning_tokens")

    @property
    def cached_tokens(self) -> int:
        """The prompt tokens read from the service's cache, as far as it reports them."""
        return _count(self.prompt_tokens_details, "cached_tokens")


@frozen
class Cost:
    """The cost of a call as the service reports it (``meta.usage`` or ``x-aimlapi-*`` headers)."""

    credits_used: float | None = None
    usd_spent: float | None = None


Labels = Mapping[str, str | int | float | bool]
"""Names and values of the caller's, attached to calls for its observers."""


@frozen
class Attempt:
    """One attempt at a request, as plain data.

    ``started`` is seconds since the epoch; ``waited`` the seconds spent before it at the gate and
    in backoff; ``error`` the error's class and message, None if the attempt succeeded.
    ``may_be_billed``: the request was sent and the service may have produced a response, though
    none was received completely.
    """

    started: float
    waited: float = 0.0
    status: int | None = None
    request_id: str | None = None
    error: str | None = None
    may_be_billed: bool = False


@define
class Choice:
    """One choice. ``finish_reason``: stop, length, tool_calls, ... or whatever the server sends."""

    index: int = 0
    message: Message = field(factory=Message)
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    extra: dict[str, Any] = field(factory=dict)


@define
class ChatCompletion:
    """A complete response (``chat.completion``), streamed or not.

    ``created`` is seconds since the epoch. ``request_id``, ``cost``, ``attempts`` and ``headers``
    (the response's, with lower-case names) describe how it was obtained, and are ignored when two
    completions are compared.
    """

    id: str = ""
    choices: list[Choice] = field(factory=list)
    created: int = 0
    model: str = ""
    usage: Usage | None = None
    object: str = "chat.completion"
    extra: dict[str, Any] = field(factory=dict)
    request_id: str | None = field(default=None, eq=False, kw_only=True)
    cost: Cost | None = field(default=None, eq=False, kw_only=True)
    attempts: tuple[Attempt, ...] = field(default=(), eq=False, kw_only=True)
    headers: Mapping[str, str] = field(factory=dict, eq=False, repr=False, kw_only=True)

    @property
    def message(self) -> Message:
        """The first choice's message; an empty one if there is no choice."""
        return self.choices[0].message if self.choices else Message()

    @property
    def text(self) -> str:
        """The first choice's text, "" if it has none."""
        return self.message.text

    @property
    def finish_reason(self) -> str | None:
        """The first choice's finish reason."""
        return self.choices[0].finish_reason if self.choices else None

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The first choice's tool calls, [] if it has none."""
        return self.message.tool_calls or []


@define
class FunctionCallDelta:
    """A fragment of a function call: of its name, and of the JSON text of its arguments."""

    name: str | None = None
    arguments: str | None = None
    extra: dict[str, Any] = field(factory=dict)


@define
class ToolCallDelta:
    """A fragment of a tool call. ``index`` identifies the call, if the server sends it."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: FunctionCallDelta | None = None
    extra: dict[str, Any] = field(factory=dict)


# A stream creates one of each of the next three per token, so they save the weak reference slot.
@define(weakref_slot=False)
class Delta:
    """The part of a choice's message that a chunk adds. ``content``: text, or a list of parts."""

    role: str | None = None
    content: str | list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallDelta] | None = None
    extra: dict[str, Any] = field(factory=dict)

    @property
    def text(self) -> str:
        """The text that it adds: the content, or that of its text parts."""
        content = self.content
        if type(content) is list:
            return "".join(_part_text(part) for part in content)
        return content or ""  # type: ignore[return-value]

    @property
    def reasoning(self) -> str | None:
        """The thoughts that it adds, whichever field or content part they come in."""
        content = self.content
        return _reasoning(self.extra, content if type(content) is list else None)


@define(weakref_slot=False)
class ChunkChoice:
    """The part of one choice that a chunk adds."""

    index: int = 0
    delta: Delta = field(factory=Delta)
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    extra: dict[str, Any] = field(factory=dict)


@define(weakref_slot=False)
class ChatCompletionChunk:
    """One event of a streamed response (``chat.completion.chunk``)."""

    id: str = ""
    choices: list[ChunkChoice] = field(factory=list)
    created: int = 0
    model: str = ""
    usage: Usage | None = None
    object: str = "chat.completion.chunk"
    extra: dict[str, Any] = field(factory=dict)

    @property
    def text(self) -> str:
        """The text that this chunk adds to choice 0; "" if it adds none."""
        choices = self.choices
        if len(choices) == 1:  # nearly always: saves a generator per token
            choice = choices[0]
            if choice.index != 0:
                return ""
            content = choice.delta.content
            return content if type(content) is str else choice.delta.text
        return "".join(choice.delta.text for choice in choices if choice.index == 0)

    @property
    def reasoning(self) -> str:
        """The thoughts that this chunk adds to choice 0; "" if it adds none."""
        choices = self.choices
        if len(choices) == 1:  # as for ``text``
            choice = choices[0]
            text = choice.delta.extra.get(REASONING_FIELDS[0])
            if type(text) is not str or not text:
                text = choice.delta.reasoning or ""
            return "" if choice.index else text
        return "".join(choice.delta.reasoning or "" for choice in choices if choice.index == 0)


# The same thoughts by the names that services give them; a service that sends several repeats
# itself. The last is Ollama's.
REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")


def _reasoning(extra: Mapping[str, Any], parts: Sequence[Any] | None) -> str | None:
    for name in REASONING_FIELDS:
        if isinstance(text := extra.get(name), str) and text:
            return text
    details = extra.get("reasoning_details")  # OpenRouter: text, summaries, encrypted data
    thoughts = [
        text
        for part in (details if isinstance(details, list) else ())
        if isinstance(part, Mapping)
        if isinstance(text := part.get("text") or part.get("summary"), str)
    ]
    if not thoughts and parts is not None and not isinstance(parts, str):
        thoughts = [_part_reasoning(part) for part in parts if isinstance(part, Mapping)]
    return "".join(thoughts) or None


def _part_text(part: Any) -> str:
    text = part.get("text") if isinstance(part, Mapping) else None
    return text if isinstance(text, str) and part.get("type", "text") in TEXT_PARTS else ""


def _part_reasoning(part: Mapping[str, Any]) -> str:
    if (kind := part.get("type")) not in REASONING_PARTS:
        return ""
    thoughts = part.get(kind) or part.get("text") or ""
    if isinstance(thoughts, str):
        return thoughts
    return "".join(map(_part_text, thoughts)) if isinstance(thoughts, list) else ""


def _count(details: Mapping[str, Any] | None, name: str) -> int:
    number = (details or {}).get(name)
    return number if type(number) is int else 0


# --- the service's other endpoints ------------------------------------------------------------


@frozen
class Model:
    """A model of the service; None where the service does not say.

    ``context_length`` and ``max_output_tokens`` in tokens; ``features`` such as
    ``openai/chat-completion.stream``; ``endpoints`` paths such as ``/v1/chat/completions``.
    ``extra`` is everything else the service lists, ``info`` whole.
    """

    id: str = ""
    type: str | None = None
    name: str | None = None
    developer: str | None = None
    description: str | None = None
    context_length: int | None = None
    max_output_tokens: int | None = None
    features: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    created: int | None = None
    extra: dict[str, Any] = field(factory=dict)

    def has_feature(self, name: str) -> bool:
        """Whether it has a feature, by its whole name or by the end of it (``function``)."""
        return any(
            feature == name or feature.endswith((f".{name}", f"/{name}"))
            for feature in self.features
        )


@frozen
class Balance:
    """What is left on the account, in the service's credits."""

    credits: float = 0.0
    low_balance: bool | None = None
    low_balance_threshold: float | None = None
    last_updated: str | None = None
    auto_debit_status: str | None = None
    status: str | None = None
    status_explanation: str | None = None
    extra: dict[str, Any] = field(factory=dict)
