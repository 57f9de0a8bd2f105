"""One line of the input to a request, or to the reason why it is none; pure.

Two formats: the lines of OpenAI's Batch API (``custom_id``, ``method``, ``url``, ``body``), and
plain ones, an object with ``messages`` or ``prompt`` and any request field. It refuses to know
other rows: ``index`` decides the id of a row that has none, or whose id is taken.
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

# Eight times the largest request the service accepts with images; a longer line is a mistake, and
# holding it would break the bound on memory.
MAX_LINE_BYTES = 8 * 1024 * 1024
_ENDPOINT = "/chat/completions"
_INSTRUCTIONS = ("system", "developer")  # roles; the second is the first's newer name
# How a response is transferred is the batch's choice, not part of the request.
_TRANSFER = ("stream", "stream_options")
_PARAMETERS = frozenset(RequestParameters.__annotations__) - set(_TRANSFER)


@define
class Row:
    """A row that can be sent.

    ``custom_id``: its own, "" if it has none; ``content``: a digest of the row as written, from
    which an id is then made; ``asked``: a digest of the whole request, defaults included;
    ``fields``: the arguments of ``client.complete``. ``size``: bytes of its line. ``key``,
    ``order`` (its position among the rows, from 0), ``slot`` (in the file of rows in flight),
    ``possibly_duplicated`` and ``changed`` are set later.
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
    possibly_duplicated: bool = False
    changed: bool = False


@define
class BadRow:
    """A row that cannot be sent: ``code`` and ``message`` say why. The rest as in ``Row``."""

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
    """A line of more than ``MAX_LINE_BYTES``, of which only a digest was kept."""

    line: int
    size: int
    content: bytes


class _InvalidRow(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RequestDefaults:
    """What rows inherit: the model, request fields and system message of rows that have none.

    Raises ``ConfigError`` for defaults with which no row could be sent.
    """

    def __init__(
        self, model: str, defaults: Mapping[str, Any] | None = None, system: str | None = None
    ) -> None:
        settings = dict(defaults or {})
        extra = settings.pop("extra_body", None)
        alone = {k: v for k, v in settings.items() if k not in ("model", "tool_choice")}
        encode_request(
            settings.get("model") or model, system or "Hello", alone, stream=False, extra_body=extra
        )
        settings = {**settings, **(extra or {})}
        self.model: str = settings.get("model") or model  # of rows that name none
        self._defaults = {"model": model} | {k: v for k, v in settings.items() if v is not None}
        self._system = system

    def read(self, line: int, data: bytes) -> Row | BadRow:
        """Parse a line; a row may still have a field out of range, which ``check`` finds."""
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
        except _InvalidRow as error:
            return _bad(line, custom_id, jsonl.digest(data), error.code, str(error))
        except ValueError as error:
            message = f"cannot be written as JSON ({error})"
            return _bad(line, custom_id, jsonl.digest(data), "invalid_request", message)

    def check(self, row: Row) -> BadRow | None:
        """Why a row that was parsed cannot be sent; None if it can."""
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
        """The body that would be sent. A field that is null counts as absent."""
        request = self._defaults | {k: v for k, v in source.items() if v is not None}
        for name in _TRANSFER:
            request.pop(name, None)
        extra = request.pop("extra_body", None)
        if extra is not None:
            if not isinstance(extra, dict):
                raise _InvalidRow("invalid_request", f"extra_body={show(extra)}: must be an object")
            request |= extra
        prompt, messages = request.pop("prompt", None), request.get("messages")
        if prompt is not None:
            if messages is not None:
                raise _InvalidRow("invalid_request", "has both messages and prompt")
            if not isinstance(prompt, str):
                raise _InvalidRow("invalid_request", f"prompt={show(prompt)}: must be a string")
            messages = prompt
        if not messages:
            raise _InvalidRow("invalid_request", "has no messages and no prompt")
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        if (
            self._system is not None
            and isinstance(messages, list)
            and not _has_instructions(messages)
        ):
            messages = [{"role": "system", "content": self._system}, *messages]
        request["messages"] = messages
        return request


def read_too_long(found: TooLong) -> BadRow:
    """The bad row for a line that was too long to be read."""
    message = f"a line of {found.size} bytes: must be at most {MAX_LINE_BYTES}"
    return _bad(found.line, "", found.content, "line_too_long", message)


def as_duplicate(row: Row | BadRow) -> BadRow:
    """The bad row for a row whose id is taken."""
    message = f"custom_id={show(row.custom_id)}: an earlier row has the same; ids must be unique"
    return _bad(row.line, row.custom_id, row.content, "duplicate_custom_id", message)


def _bad(line: int, custom_id: str, content: bytes, code: str, message: str) -> BadRow:
    # Marked, so that the row is sent once it is valid (with other defaults, say).
    return BadRow(line, custom_id, content, jsonl.digest(b"bad", content), code, message)


def _loads(data: bytes) -> dict[str, Any]:
    try:
        value = jsonl.read(data)
    except ValueError as error:
        try:
            data.decode()
        except UnicodeDecodeError as invalid:
            raise _InvalidRow("invalid_utf8", f"is not UTF-8 at byte {invalid.start + 1}") from None
        raise _InvalidRow("invalid_json", f"is not JSON ({error}): {quote(data, 100)}") from None
    if not isinstance(value, dict):
        raise _InvalidRow("invalid_json", f"is not a JSON object: {quote(data, 100)}")
    return value


def _custom_id(value: dict[str, Any]) -> str:
    custom_id = value.pop("custom_id", None)
    if custom_id is None:
        return ""
    if not isinstance(custom_id, str) or not custom_id:
        raise _InvalidRow(
            "invalid_request", f"custom_id={show(custom_id)}: must be a non-empty string"
        )
    return custom_id


def _source(value: dict[str, Any]) -> dict[str, Any]:
    """The request in a line of either format."""
    if "body" not in value or "messages" in value or "prompt" in value:
        return value
    body, url, method = value["body"], value.get("url"), value.get("method")
    if not isinstance(body, dict):
        raise _InvalidRow("invalid_request", f"body={show(body)}: must be an object")
    if url is not None and not (isinstance(url, str) and url.rstrip("/").endswith(_ENDPOINT)):
        raise _InvalidRow("invalid_request", f"url={show(url)}: must be /v1{_ENDPOINT}")
    if method is not None and not (isinstance(method, str) and method.upper() == "POST"):
        raise _InvalidRow("invalid_request", f"method={show(method)}: must be POST")
    return body


def _has_instructions(messages: list[Any]) -> bool:
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
