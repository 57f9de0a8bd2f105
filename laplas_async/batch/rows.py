"""One line of the input to what is asked, or to why it cannot be; pure.

Two formats: the lines of OpenAI's Batch API (``custom_id``, ``method``, ``url``, ``body``), and
plain ones, an object with ``messages`` or ``prompt`` and any request field. It refuses to know
other rows: what an id is if a row has none, or has another's, is ``index``'s to say.
"""

from collections.abc import Mapping
from reprlib import repr as show
from typing import Any

from attrs import define

from laplas_async.batch import jsonl
from laplas_async.errors import ConfigError
from laplas_async.types import RequestParameters
from laplas_async.wire.codec import quote
from laplas_async.wire.request import encode_request

MAX_LINE_BYTES = 8 * 1024 * 1024
_ENDPOINT = "/chat/completions"
_INSTRUCTIONS = ("system", "developer")  # roles; the second is the first's newer name
# How an answer is transferred is the batch's choice, and no part of what is asked.
_TRANSFER = ("stream", "stream_options")
_PARAMETERS = frozenset(RequestParameters.__annotations__) - set(_TRANSFER)


@define
class Row:
    """A row that can be asked.

    ``custom_id``: its own, "" where it has none; ``content``: a digest of the row as written, from
    which an id is made then; ``asked``: a digest of all that is asked, defaults included;
    ``fields``: the arguments of ``client.complete``. ``size``: bytes of its line. ``key``,
    ``order`` (the how-manieth row, from 0), ``slot`` (of those in flight), ``maybe_twice`` and
    ``changed`` become known later.
    """

    line: int
    custom_id: str
    content: bytes
    asked: bytes
    fields: dict[str, Any]
    size: int
    key: bytes = b""
    order: int = 0
    slot: int = -1
    maybe_twice: bool = False
    changed: bool = False


@define
class BadRow:
    """A row that cannot be asked: ``code`` and ``message`` say why. The rest as in ``Row``."""

    line: int
    custom_id: str
    content: bytes
    asked: bytes
    code: str
    message: str
    key: bytes = b""
    order: int = 0
    changed: bool = False


@define
class TooLong:
    """A line of more than ``MAX_LINE_BYTES``, of which a digest is all that was kept."""

    line: int
    size: int
    content: bytes


class _Wrong(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Recipe:
    """What all rows share: the model, the fields and the system message of rows without.

    Raises ``ConfigError`` for defaults that no row could be asked with.
    """

    def __init__(
        self, model: str, defaults: Mapping[str, Any] | None = None, system: str | None = None
    ) -> None:
        given = dict(defaults or {})
        extra = given.pop("extra_body", None)
        alone = {k: v for k, v in given.items() if k not in ("model", "tool_choice")}
        encode_request(
            given.get("model") or model, system or "Hello", alone, stream=False, extra_body=extra
        )
        given = {**given, **(extra or {})}
        self._defaults = {"model": model} | {k: v for k, v in given.items() if v is not None}
        self._system = system

    def read(self, line: int, data: bytes) -> Row | BadRow:
        """Understand a line; a row may still have a field out of range (``check``)."""
        custom_id = ""
        try:
            value = _loads(data)
            custom_id = _custom_id(value)
            source = _source(value)
            request = self._request(source)
            return Row(
                line,
                custom_id,
                b"" if custom_id else jsonl.digest(jsonl.canonical(source)),
                jsonl.digest(jsonl.canonical(request)),
                _arguments(request),
                len(data),
            )
        except _Wrong as error:
            return _bad(line, custom_id, jsonl.digest(data), error.code, str(error))
        except ValueError as error:
            words = f"cannot be written as JSON ({error})"
            return _bad(line, custom_id, jsonl.digest(data), "invalid_request", words)

    def check(self, row: Row) -> BadRow | None:
        """Why a row that could be read cannot be asked; None if it can."""
        fields = row.fields
        others = {k: v for k, v in fields.items() if k in _PARAMETERS}
        try:
            encode_request(
                fields["model"],
                fields["messages"],
                others,
                stream=False,
                extra_body=fields.get("extra_body"),
            )
        except ConfigError as error:
            return _bad(
                row.line, row.custom_id, row.content or row.asked, "invalid_request", str(error)
            )
        return None

    def _request(self, source: dict[str, Any]) -> dict[str, Any]:
        """The body that would be sent. What a row has as null, it has not."""
        request = self._defaults | {k: v for k, v in source.items() if v is not None}
        for name in _TRANSFER:
            request.pop(name, None)
        extra = request.pop("extra_body", None)
        if extra is not None:
            if not isinstance(extra, dict):
                raise _Wrong("invalid_request", f"extra_body={show(extra)}: must be an object")
            request |= extra
        prompt, messages = request.pop("prompt", None), request.get("messages")
        if prompt is not None:
            if messages is not None:
                raise _Wrong("invalid_request", "has both messages and prompt")
            if not isinstance(prompt, str):
                raise _Wrong("invalid_request", f"prompt={show(prompt)}: must be text")
            messages = prompt
        if not messages:
            raise _Wrong("invalid_request", "has no messages and no prompt")
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        if self._system is not None and isinstance(messages, list) and not _is_told(messages):
            messages = [{"role": "system", "content": self._system}, *messages]
        request["messages"] = messages
        return request


def read_too_long(found: TooLong) -> BadRow:
    """What becomes of a line that was too long to be read."""
    words = f"a line of {found.size} bytes: must be at most {MAX_LINE_BYTES}"
    return _bad(found.line, "", found.content, "line_too_long", words)


def as_duplicate(row: Row | BadRow) -> BadRow:
    """What becomes of a row whose id an earlier one has."""
    words = f"custom_id={show(row.custom_id)}: an earlier row has it"
    return _bad(row.line, row.custom_id, row.content, "duplicate_custom_id", words)


def _bad(line: int, custom_id: str, content: bytes, code: str, message: str) -> BadRow:
    # Marked, so that the same row is asked once it can be (other defaults, say).
    return BadRow(line, custom_id, content, jsonl.digest(b"bad", content), code, message)


def _loads(data: bytes) -> dict[str, Any]:
    try:
        value = jsonl.read(data)
    except ValueError as error:
        try:
            data.decode()
        except UnicodeDecodeError as wrong:
            raise _Wrong("invalid_utf8", f"is not UTF-8 at byte {wrong.start + 1}") from None
        raise _Wrong("invalid_json", f"is not JSON ({error}): {quote(data, 100)}") from None
    if not isinstance(value, dict):
        raise _Wrong("invalid_json", f"is no JSON object: {quote(data, 100)}")
    return value


def _custom_id(value: dict[str, Any]) -> str:
    custom_id = value.pop("custom_id", None)
    if custom_id is None:
        return ""
    if not isinstance(custom_id, str) or not custom_id:
        raise _Wrong("invalid_request", f"custom_id={show(custom_id)}: must be text, not empty")
    return custom_id


def _source(value: dict[str, Any]) -> dict[str, Any]:
    """The request in a line of either format."""
    if "body" not in value or "messages" in value or "prompt" in value:
        return value
    body, url, method = value["body"], value.get("url"), value.get("method")
    if not isinstance(body, dict):
        raise _Wrong("invalid_request", f"body={show(body)}: must be an object")
    if url is not None and not (isinstance(url, str) and url.rstrip("/").endswith(_ENDPOINT)):
        raise _Wrong("invalid_request", f"url={show(url)}: only /v1{_ENDPOINT} is asked")
    if method is not None and not (isinstance(method, str) and method.upper() == "POST"):
        raise _Wrong("invalid_request", f"method={show(method)}: must be POST")
    return body


def _is_told(messages: list[Any]) -> bool:
    return any(isinstance(m, dict) and m.get("role") in _INSTRUCTIONS for m in messages)


def _arguments(request: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in request.items():
        if name in _PARAMETERS or name in ("model", "messages"):
            fields[name] = value
        else:
            extra[name] = value
    if extra:
        fields["extra_body"] = extra
    return fields
