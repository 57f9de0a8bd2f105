"""Requests for typed output: which mode to request, what a response means, what to ask next.

``ParseRequest`` is a state machine: it gives the next request and takes its response. ``parse``
runs it with any function that completes. It refuses to know HTTP.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, cast

from attrs import define, field

from laplas_async.errors import (
    BadRequestError,
    ConfigError,
    ContentFilterError,
    InvalidJSONError,
    OutputError,
    OutputValidationError,
    Problem,
    RefusalError,
    TruncatedOutputError,
)
from laplas_async.structured.problems import summary
from laplas_async.structured.reading import Mismatch, NoJSON, OutputType, find_partial
from laplas_async.structured.spending import Spending
from laplas_async.types import ChatCompletion, Cost, MessageLike, Usage
from laplas_async.wire.request import check_messages

T = TypeVar("T")
Mode = Literal["auto", "json_schema", "json_object", "tool", "prompt"]
Message = dict[str, Any]

MODES: Final = ("json_schema", "json_object", "tool", "prompt")
DEFAULT_MAX_TOKENS: Final = 512  # the service's own, WIRE.md
_OWN: Final = ("response_format", "tools", "tool_choice", "parallel_tool_calls", "n", "echo")
# Words of a 400 that reject the mode and nothing else about the request.
_REJECTIONS: Final = {
    "json_schema": r"response.?format|json.?schema|structured|\bstrict\b|grammar|schema",
    "json_object": r"response.?format|json.?object|json.?mode|\bjson\b",
    "tool": r"\btools?\b|tool_choice|function",
}
_FEATURES: Final = {
    "json_schema": ".response-format",
    "json_object": ".response-format",
    "tool": ".function",
}


class Complete(Protocol):
    """What ``LaplasClient.complete`` is."""

    async def __call__(self, messages: Sequence[MessageLike], **parameters: Any) -> ChatCompletion:
        """Request a completion."""
        ...


@define
class Parsed(Generic[T]):
    """A typed answer.

    ``usage`` and ``cost`` are sums over all ``requests`` that were made for it, None where the
    service reports none; ``completion`` is the last response, and ``mode`` how it was requested.
    """

    output: T
    completion: ChatCompletion
    usage: Usage | None = None
    cost: Cost | None = None
    mode: str = ""
    requests: int = 1


@define(eq=False)
class ParseRequest(Generic[T]):
    """One typed answer in the making.

    ``modes``: those to try, the first one first; the next only after a 400 that rejects the mode.
    ``max_retries``: how often the model is shown what is wrong with its answer.
    ``retry_truncated``: an answer that ``max_tokens`` cut is requested once more with twice as
    many.
    """

    output: OutputType[T]
    original: Sequence[Message]
    parameters_given: Mapping[str, Any]
    modes: list[str]
    max_retries: int = 2
    retry_truncated: bool = False
    spending: Spending = field(factory=Spending)
    _feedback: list[Message] = field(factory=list)
    _retries: int = 0
    _max_tokens: int | None = None

    @property
    def mode(self) -> str:
        """The mode of the next request."""
        return self.modes[0]

    @property
    def messages(self) -> list[Message]:
        """The messages of the next request."""
        messages = list(self.original)
        if self.mode in ("json_object", "prompt"):
            messages = with_instructions(messages, _instructions(self.output))
        return messages + self._feedback

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the next request."""
        parameters = dict(self.parameters_given) | mode_parameters(self.mode, self.output)
        if self._max_tokens is not None:
            parameters["max_tokens"] = self._max_tokens
        return parameters

    def begin_with(self, features: Sequence[str]) -> None:
        """Leave out the modes that the model lacks, by the features that its service publishes."""
        if features:
            offered = modes_to_try("auto", features=features)
            self.modes = [mode for mode in self.modes if mode in offered]

    def receive(self, completion: ChatCompletion) -> Parsed[T] | None:
        """Take a response: the result, or None: make the next request. Raises ``OutputError``."""
        self.spending.add(completion)
        text = answer_text(completion, self.output.name)
        if (error := unusable(completion, self.spending.usage)) is not None:
            if isinstance(error, TruncatedOutputError) and self._doubles():
                return None
            raise error
        try:
            value = self.output.read(text)
        except (NoJSON, Mismatch) as wrong:
            self._retry(text, wrong, completion)
            return None
        return Parsed(
            output=value,
            completion=completion,
            usage=self.spending.usage,
            cost=self.spending.cost,
            mode=self.mode,
            requests=self.spending.requests,
        )

    def reject(self, error: BadRequestError) -> Parsed[T] | None:
        """Take a 400: fall back to the next mode if it rejects this one, else raise it.

        Some services answer 400 where the model's text does not fit the schema, with the text in
        ``failed_generation``; it is read like a response.
        """
        text = failed_generation(error)
        if text is not None:
            try:
                value = self.output.read(text)
            except (NoJSON, Mismatch) as wrong:
                self._retry(text, wrong, None, cause=error)
                return None
            completion = ChatCompletion(request_id=error.request_id, attempts=error.attempts)
            usage, cost = self.spending.usage, self.spending.cost
            requests = self.spending.requests + 1
            return Parsed(value, completion, usage, cost, self.mode, requests)
        if len(self.modes) < 2 or not rejects_mode(error, self.mode):
            raise error
        self.modes.pop(0)
        self._feedback.clear()
        return None

    def _doubles(self) -> bool:
        if not self.retry_truncated or self._max_tokens is not None:
            return False
        self._max_tokens = 2 * (self.parameters_given.get("max_tokens") or DEFAULT_MAX_TOKENS)
        return True

    def _retry(
        self,
        text: str,
        wrong: NoJSON | Mismatch,
        completion: ChatCompletion | None,
        cause: BadRequestError | None = None,
    ) -> None:
        """Show the model what is wrong, or raise if that was done often enough."""
        if self._retries >= self.max_retries:
            error = output_error(text, wrong, completion, self.spending.usage)
            raise error from (cause or wrong)
        self._retries += 1
        self._feedback += feedback(text, wrong)


async def parse(complete: Complete, request: ParseRequest[T]) -> Parsed[T]:
    """Make the requests until there is a typed answer. Cancelling it cancels the open request."""
    while True:
        try:
            completion = await complete(request.messages, **request.parameters)
        except BadRequestError as error:
            result = request.reject(error)
        else:
            result = request.receive(completion)
        if result is not None:
            return result


# --- requests ---------------------------------------------------------------------------------


def new_request(
    messages: str | Sequence[MessageLike],
    output: OutputType[T],
    parameters: Mapping[str, Any],
    *,
    mode: Mode = "auto",
    max_retries: int = 2,
    retry_truncated: bool = False,
    known_mode: str | None = None,
    features: Sequence[str] | None = None,
) -> ParseRequest[T]:
    """Check the arguments of ``LaplasClient.parse``. Raises ``ConfigError``.

    ``known_mode``: what worked before. ``features``: what the service publishes about the model.
    """
    for name in _OWN:
        if parameters.get(name) not in (None, False, 1):
            raise ConfigError(f"{name}: parse() decides it; use complete() to set it yourself")
    if type(max_retries) is not int or max_retries < 0:
        raise ConfigError(f"max_retries={max_retries!r}: must be at least 0")
    given = {name: value for name, value in parameters.items() if name not in _OWN}
    modes = modes_to_try(mode, known_mode, features)
    checked = check_messages(messages)
    return ParseRequest(output, checked, given, modes, max_retries, retry_truncated)


def modes_to_try(
    mode: str, known_mode: str | None = None, features: Sequence[str] | None = None
) -> list[str]:
    """The modes in the order in which they are tried."""
    if mode != "auto":
        if mode not in MODES:
            raise ConfigError(f"mode={mode!r}: must be auto, {', '.join(MODES)}")
        return [mode]
    if known_mode is not None:
        return list(MODES[MODES.index(known_mode) :])
    if features is None:
        return list(MODES)
    return [
        one
        for one in MODES
        if one not in _FEATURES or any(feature.endswith(_FEATURES[one]) for feature in features)
    ]


def mode_parameters(mode: str, output: OutputType[Any]) -> dict[str, Any]:
    """The request fields of a mode."""
    schema = output.schema
    if mode == "json_schema":
        named = {"name": output.name, "schema": schema.schema, "strict": schema.strict}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    if mode == "json_object":
        return {"response_format": {"type": "json_object"}}
    if mode == "tool":
        function: dict[str, Any] = {
            "name": output.name,
            "description": "Give the final answer.",
            "parameters": schema.schema,
        }
        if schema.strict:
            function["strict"] = True
        choice = {"type": "function", "function": {"name": output.name}}
        return {"tools": [{"type": "function", "function": function}], "tool_choice": choice}
    return {}


def with_instructions(messages: Sequence[Message], text: str) -> list[Message]:
    """The messages with a text added to the system message: some models accept only one."""
    first = messages[0]
    if first["role"] in ("system", "developer") and isinstance(first["content"], str):
        return [first | {"content": f"{first['content']}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def _instructions(output: OutputType[Any]) -> str:
    schema = json.dumps(output.schema.schema, ensure_ascii=False)
    return (
        "Answer with one JSON object that fits this JSON schema, and with nothing else: no fence,"
        f" no comment.\n{schema}"
    )


def feedback(text: str, wrong: NoJSON | Mismatch) -> list[Message]:
    """The answer and what is wrong with it, as messages to the model."""
    said = summary(wrong.problems) if isinstance(wrong, Mismatch) else str(wrong)
    return [
        {"role": "assistant", "content": text or "(empty)"},
        {
            "role": "user",
            "content": f"That answer cannot be used:\n{said}\n"
            "Answer again with the whole corrected JSON object, and with nothing else.",
        },
    ]


# --- responses --------------------------------------------------------------------------------


def answer_text(completion: ChatCompletion, name: str) -> str:
    """The text that holds the JSON: the arguments of the requested call, or the content."""
    for call in completion.tool_calls:
        if call.function.name == name:
            return call.function.arguments
    return completion.text


def unusable(completion: ChatCompletion, usage: Usage | None) -> OutputError | None:
    """The error for a response that is not worth reading; None if it is."""
    text = completion.text
    data: dict[str, Any] = {"usage": usage, "completion": completion}
    if completion.message.refusal:
        refusal = completion.message.refusal
        return RefusalError(f"the model declined: {refusal}", text=refusal, **data)
    if completion.finish_reason == "content_filter":
        message = "the service's content filter withheld the answer; change the messages"
        return ContentFilterError(message, text=text, **data)
    if completion.finish_reason == "length":
        if completion.tool_calls:
            text = completion.tool_calls[0].function.arguments
        return TruncatedOutputError(
            "max_tokens ended the answer in the middle; raise max_tokens, or ask for less",
            text=text,
            partial=find_partial(text),
            **data,
        )
    return None


def output_error(
    text: str,
    wrong: NoJSON | Mismatch,
    completion: ChatCompletion | None,
    usage: Usage | None,
) -> OutputError:
    """The public error for an answer that cannot be used."""
    attempts = () if completion is None else completion.attempts
    data: dict[str, Any] = {"usage": usage, "completion": completion, "attempts": attempts}
    if isinstance(wrong, Mismatch):
        problems = wrong.problems
        message = f"the answer does not fit the type:\n{summary(problems)}"
        return OutputValidationError(message, text=text, errors=problems, **data)
    return InvalidJSONError(str(wrong), text=text, errors=(Problem("", str(wrong)),), **data)


def failed_generation(error: BadRequestError) -> str | None:
    """The model's text inside a 400; None where there is none."""
    body = error.body
    if not isinstance(body, dict):
        return None
    inner = body.get("error")
    for source in (inner, body):
        if isinstance(source, dict) and isinstance(source.get("failed_generation"), str):
            return cast("str", source["failed_generation"])
    return None


def rejects_mode(error: BadRequestError, mode: str) -> bool:
    """Whether a 400 says that the mode is not available, and not that something else is wrong."""
    pattern = _REJECTIONS.get(mode)
    said = f"{error.message} {json.dumps(error.body, default=str)}"
    return pattern is not None and re.search(pattern, said, re.IGNORECASE) is not None
