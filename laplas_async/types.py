"""The values of the API: messages, tools, completions, chunks, usage.

Plain attrs classes named as the API names them. They hold and shorten (``completion.text``); they
neither validate requests (``wire.request``) nor read or write JSON (``wire.codec``).

Fields the service adds later are kept in ``extra`` of the object they came in.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from attrs import define, field, frozen

DEFAULT_MODEL = "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"

Role = Literal["system", "user", "assistant", "tool", "developer"]


# --- what is sent: messages and tools ---------------------------------------------------------


@frozen
class TextPart:
    """A piece of text in a message's content."""

    text: str
    type: str = "text"


@frozen
class ImageURL:
    """Where an image is: an ``https:`` or ``data:`` URL; ``detail`` is low, high or auto."""

    url: str
    detail: str | None = None


@frozen
class ImagePart:
    """An image in a message's content."""

    image_url: ImageURL
    type: str = "image_url"


@define
class FunctionCall:
    """The function a model wants called. ``arguments`` is JSON text, as the model wrote it."""

    name: str = ""
    arguments: str = ""
    extra: dict[str, Any] = field(factory=dict)


@define
class ToolCall:
    """One call of a tool, asked for by the model; answered by a message of role ``tool``."""

    id: str = ""
    function: FunctionCall = field(factory=FunctionCall)
    type: str = "function"
    extra: dict[str, Any] = field(factory=dict)


@define
class Message:
    """One message of a conversation, sent or received.

    ``role`` is system, user, assistant, tool or developer. ``content`` is text, a list of parts,
    or None (an assistant that only calls tools). ``name`` tells speakers of one role apart.
    A ``tool`` message names the call it answers in ``tool_call_id``. A received message can be
    appended to the history as it is.
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
        """The content's text: parts joined, "" where there is none."""
        if isinstance(self.content, str):
            return self.content
        return "".join(
            part.text if isinstance(part, TextPart) else str(part.get("text") or "")
            for part in self.content or ()
            if isinstance(part, (TextPart, Mapping))
        )


@frozen
class FunctionDefinition:
    """What a function is: name ``[a-zA-Z0-9_-]{1,64}``, what for, and a JSON schema."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None


@frozen
class Tool:
    """A tool that the model may call. At most 128 a request."""

    function: FunctionDefinition
    type: str = "function"


@frozen
class JSONSchema:
    """The schema that an answer must fit, for ``ResponseFormat("json_schema", ...)``."""

    name: str
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


@frozen
class ResponseFormat:
    """How the answer is written: ``text``, ``json_object`` or ``json_schema``."""

    type: str
    json_schema: JSONSchema | None = None


MessageLike = Message | Mapping[str, Any]
ToolLike = Tool | Mapping[str, Any]


class RequestParameters(TypedDict, total=False):
    """The request fields beside ``model`` and ``messages``, as keywords. None: not sent.

    Types and ranges are those of the service's page; ``wire.request`` checks them before
    anything is sent. What is not here passes through ``extra_body``.
    """

    max_tokens: int | None
    """At least 1; the service's default is 512."""
    stop: str | Sequence[str] | None
    """Up to 4 strings; the answer ends before the first that would appear."""
    stream_options: Mapping[str, Any] | None
    """``{"include_usage": bool}``; only for streams, where ``stream()`` asks for usage."""
    n: int | None
    """How many answers: at least 1."""
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
    """Repeat the prompt in the answer."""
    min_p: float | None
    """0.001 to 0.999."""
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


# --- what comes back --------------------------------------------------------------------------


@define
class TopLogprob:
    """One of the likeliest tokens at a place. ``bytes`` are the token's UTF-8 bytes."""

    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    extra: dict[str, Any] = field(factory=dict)


@define
class TokenLogprob:
    """A token of the answer with its natural-log probability and its rivals."""

    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None
    top_logprobs: list[TopLogprob] = field(factory=list)
    extra: dict[str, Any] = field(factory=dict)


@define
class Logprobs:
    """Log probabilities of a choice. Other shapes than OpenAI's are kept whole in ``extra``."""

    content: list[TokenLogprob] | None = None
    refusal: list[TokenLogprob] | None = None
    extra: dict[str, Any] = field(factory=dict)


@define
class Usage:
    """Tokens counted by the service: its numbers, 0 where it told none."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None
    extra: dict[str, Any] = field(factory=dict)


@frozen
class Cost:
    """What the service says the call cost (``meta.usage`` or ``x-aimlapi-*``); never estimated."""

    credits_used: float | None = None
    usd_spent: float | None = None


@frozen
class Attempt:
    """One try of a request, as plain data.

    ``started`` is seconds since the epoch; ``waited`` the seconds spent before it at the gate and
    in backoff; ``error`` the error's kind and words, None for the try that succeeded.
    ``may_be_billed``: the request had gone out and an answer may have been produced, though none
    was received whole.
    """

    started: float
    waited: float = 0.0
    status: int | None = None
    request_id: str | None = None
    error: str | None = None
    may_be_billed: bool = False


@define
class Choice:
    """One answer. ``finish_reason``: stop, length, tool_calls, ... or whatever the server says."""

    index: int = 0
    message: Message = field(factory=Message)
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    extra: dict[str, Any] = field(factory=dict)


@define
class ChatCompletion:
    """A whole answer (``chat.completion``), streamed or not.

    ``created`` is seconds since the epoch. ``request_id``, ``cost`` and ``attempts`` say how it
    came here, and do not count when two completions are compared.
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

    @property
    def message(self) -> Message:
        """The first choice's message; an empty one where there is no choice."""
        return self.choices[0].message if self.choices else Message()

    @property
    def text(self) -> str:
        """The first choice's text, "" where it has none."""
        return self.message.text

    @property
    def finish_reason(self) -> str | None:
        """The first choice's finish reason."""
        return self.choices[0].finish_reason if self.choices else None

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The first choice's tool calls, [] where it has none."""
        return self.message.tool_calls or []


@define
class FunctionCallDelta:
    """A piece of a function call: the name (whole or in pieces), some of the arguments' JSON."""

    name: str | None = None
    arguments: str | None = None
    extra: dict[str, Any] = field(factory=dict)


@define
class ToolCallDelta:
    """A piece of a tool call; ``index`` tells which, where the server says so."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: FunctionCallDelta | None = None
    extra: dict[str, Any] = field(factory=dict)


# The three of which a stream makes one for each token do without a place for weak references.
@define(weakref_slot=False)
class Delta:
    """What a chunk adds to a choice's message."""

    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallDelta] | None = None
    extra: dict[str, Any] = field(factory=dict)


@define(weakref_slot=False)
class ChunkChoice:
    """What a chunk adds to one choice."""

    index: int = 0
    delta: Delta = field(factory=Delta)
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    extra: dict[str, Any] = field(factory=dict)


@define(weakref_slot=False)
class ChatCompletionChunk:
    """One event of a streamed answer (``chat.completion.chunk``)."""

    id: str = ""
    choices: list[ChunkChoice] = field(factory=list)
    created: int = 0
    model: str = ""
    usage: Usage | None = None
    object: str = "chat.completion.chunk"
    extra: dict[str, Any] = field(factory=dict)

    @property
    def text(self) -> str:
        """What this chunk adds to the text of choice 0; "" where it adds none."""
        choices = self.choices
        if len(choices) == 1:  # as nearly always
            return (choices[0].delta.content or "") if choices[0].index == 0 else ""
        return "".join(choice.delta.content or "" for choice in choices if choice.index == 0)
