"""The service's validation of a request body: one rule for each field it documents.

Pure. It refuses to reject what is not documented: unknown fields pass untouched. It is written
independently of the client's own checks, so that each can find the other's mistakes.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from attrs import define, field

# The service documents no maximum of ``n``; this one keeps a request from filling the memory.
MAX_CHOICES: Final = 128
MAX_TOOLS: Final = 128
MAX_STOPS: Final = 4
_ROLES: Final = ("system", "user", "assistant", "tool", "developer")
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ABSENT: Final = object()

Path = tuple[str | int, ...]


def validation_errors(body: object) -> list[dict[str, Any]]:
    """Return the errors in a decoded request body as ``{path, message}``; [] if it is valid."""
    checker = _Checker()
    if isinstance(body, dict):
        checker.request(body)
    else:
        checker.add((), "Expected an object")
    return checker.errors


@define
class _Checker:
    errors: list[dict[str, Any]] = field(factory=list)

    def add(self, path: Path, message: str) -> None:
        self.errors.append({"path": list(path), "message": message})

    def request(self, body: dict[str, Any]) -> None:
        if self._string(body, "model", (), required=True) and not body["model"]:
            self.add(("model",), "Must not be empty")
        self._messages(body.get("messages", _ABSENT))
        for name, low, high, nullable, whole in _NUMBERS:
            value = body.get(name, _ABSENT)
            if value is not _ABSENT and not (nullable and value is None):
                self._number(value, (name,), low=low, high=high, whole=whole)
        for name, nullable in _BOOLEANS:
            self._boolean(body, name, (), nullable=nullable)
        for name, check in _SHAPES.items():
            if name in body:
                check(self, body[name], body)

    def _number(
        self, value: object, path: Path, *, low: float | None, high: float | None, whole: bool
    ) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.add(path, f"Expected {'an integer' if whole else 'a number'}")
        elif whole and value != int(value):
            self.add(path, "Expected an integer")
        elif low is not None and value < low:
            self.add(path, f"Must be at least {low}")
        elif high is not None and value > high:
            self.add(path, f"Must be at most {high}")

    def _string(
        self, holder: dict[str, Any], name: str, path: Path, *, required: bool = False
    ) -> bool:
        value = holder.get(name, _ABSENT)
        if value is _ABSENT and required:
            self.add((*path, name), "Required")
        elif value is not _ABSENT and not isinstance(value, str):
            self.add((*path, name), "Expected a string")
        return isinstance(value, str)

    def _boolean(
        self, holder: dict[str, Any], name: str, path: Path, *, nullable: bool = False
    ) -> None:
        value = holder.get(name, _ABSENT)
        if value is _ABSENT or isinstance(value, bool) or (nullable and value is None):
            return
        self.add((*path, name), "Expected a boolean")

    def _object(self, value: object, path: Path) -> dict[str, Any] | None:
        if isinstance(value, dict):
            return value
        self.add(path, "Required" if value is _ABSENT else "Expected an object")
        return None

    def _list(self, value: object, path: Path, *, most: int | None = None) -> list[Any]:
        if not isinstance(value, list):
            self.add(path, "Required" if value is _ABSENT else "Expected an array")
            return []
        if most is not None and len(value) > most:
            self.add(path, f"Must have at most {most} items")
        return value

    def _one_of(self, value: object, path: Path, names: Iterable[str]) -> bool:
        if isinstance(value, str) and value in names:
            return True
        self.add(path, f"Expected one of: {', '.join(names)}")
        return False

    def _messages(self, value: object) -> None:
        messages = self._list(value, ("messages",))
        if value == []:
            self.add(("messages",), "Must have at least 1 item")
        for at, message in enumerate(messages):
            path: Path = ("messages", at)
            checked = self._object(message, path)
            if checked is not None:
                self._message(checked, path)

    def _message(self, message: dict[str, Any], path: Path) -> None:
        role = message.get("role", _ABSENT)
        if not self._one_of(role, (*path, "role"), _ROLES):
            return
        self._string(message, "name", path)
        content = message.get("content")
        if role == "assistant":
            if message.get("tool_calls") is not None:
                self._tool_calls(message["tool_calls"], (*path, "tool_calls"))
            if message.get("refusal") is not None:
                self._string(message, "refusal", path)
            if content is None:
                if not message.get("tool_calls") and not message.get("refusal"):
                    self.add((*path, "content"), "Required without tool_calls or refusal")
                return
        elif role == "tool":
            self._string(message, "tool_call_id", path, required=True)
        self._content(content, (*path, "content"))

    def _content(self, content: object, path: Path) -> None:
        if isinstance(content, str):
            return
        if not isinstance(content, list):
            self.add(path, "Expected a string or an array of parts")
            return
        if not content:
            self.add(path, "Must have at least 1 part")
        for at, part in enumerate(content):
            here: Path = (*path, at)
            checked = self._object(part, here)
            if checked is None:
                continue
            if not self._one_of(checked.get("type"), (*here, "type"), ("text", "image_url")):
                continue
            if checked["type"] == "text":
                self._string(checked, "text", here, required=True)
            else:
                inside: Path = (*here, "image_url")
                image = self._object(checked.get("image_url", _ABSENT), inside)
                if image is not None:
                    self._string(image, "url", inside, required=True)

    def _tool_calls(self, value: object, path: Path) -> None:
        for at, call in enumerate(self._list(value, path)):
            here: Path = (*path, at)
            checked = self._object(call, here)
            if checked is None:
                continue
            self._string(checked, "id", here, required=True)
            self._one_of(checked.get("type"), (*here, "type"), ("function",))
            function = self._object(checked.get("function", _ABSENT), (*here, "function"))
            if function is not None:
                self._string(function, "name", (*here, "function"), required=True)
                self._string(function, "arguments", (*here, "function"), required=True)

    def stop(self, value: object, _body: dict[str, Any]) -> None:
        if value is None or isinstance(value, str):
            return
        for at, mark in enumerate(self._list(value, ("stop",), most=MAX_STOPS)):
            if not isinstance(mark, str):
                self.add(("stop", at), "Expected a string")

    def stream_options(self, value: object, _body: dict[str, Any]) -> None:
        options = self._object(value, ("stream_options",))
        if options is not None:
            self._boolean(options, "include_usage", ("stream_options",))

    def logit_bias(self, value: object, _body: dict[str, Any]) -> None:
        if value is None:
            return
        for name, bias in (self._object(value, ("logit_bias",)) or {}).items():
            self._number(bias, ("logit_bias", name), low=-100, high=100, whole=False)

    def tools(self, value: object, _body: dict[str, Any]) -> None:
        for at, tool in enumerate(self._list(value, ("tools",), most=MAX_TOOLS)):
            here: Path = ("tools", at)
            checked = self._object(tool, here)
            if checked is None:
                continue
            self._one_of(checked.get("type"), (*here, "type"), ("function",))
            inside: Path = (*here, "function")
            function = self._object(checked.get("function", _ABSENT), inside)
            if function is None:
                continue
            if self._string(function, "name", inside, required=True):
                self._name(function["name"], (*inside, "name"))
            self._string(function, "description", inside)
            self._boolean(function, "strict", inside, nullable=True)
            if function.get("parameters") is not None:
                self._object(function["parameters"], (*inside, "parameters"))

    def _name(self, name: str, path: Path) -> None:
        if not _TOOL_NAME.fullmatch(name):
            self.add(path, "Expected 1 to 64 of a-z, A-Z, 0-9, _ and -")

    def tool_choice(self, value: object, body: dict[str, Any]) -> None:
        here: Path = ("tool_choice",)
        if not isinstance(value, dict):
            known = self._one_of(value, here, ("none", "auto", "required"))
            if known and value == "required" and not body.get("tools"):
                self.add(here, "Required tool use needs tools")
            return
        self._one_of(value.get("type"), (*here, "type"), ("function",))
        function = self._object(value.get("function", _ABSENT), (*here, "function"))
        if function is None or not self._string(
            function, "name", (*here, "function"), required=True
        ):
            return
        tools = body.get("tools")
        known_names = {
            tool["function"].get("name")
            for tool in (tools if isinstance(tools, list) else ())
            if isinstance(tool, dict) and isinstance(tool.get("function"), dict)
        }
        if function["name"] not in known_names:
            self.add((*here, "function", "name"), "Names no tool of this request")

    def response_format(self, value: object, _body: dict[str, Any]) -> None:
        here: Path = ("response_format",)
        checked = self._object(value, here)
        if checked is None:
            return
        types = ("text", "json_object", "json_schema")
        if not self._one_of(checked.get("type"), (*here, "type"), types):
            return
        if checked["type"] != "json_schema":
            return
        inside: Path = (*here, "json_schema")
        named = self._object(checked.get("json_schema", _ABSENT), inside)
        if named is None:
            return
        if self._string(named, "name", inside, required=True):
            self._name(named["name"], (*inside, "name"))
        if named.get("schema") is not None:
            self._object(named["schema"], (*inside, "schema"))
        self._boolean(named, "strict", inside, nullable=True)


# Name, minimum, maximum, nullable, whole. Where the service's page and its platform's documents
# differ, the page's range holds (``min_p``: the page's own example sends 1).
_NUMBERS: Final[tuple[tuple[str, float | None, float | None, bool, bool], ...]] = (
    ("max_tokens", 1, None, False, False),
    ("n", 1, MAX_CHOICES, True, True),
    ("seed", 1, None, False, True),
    ("top_p", 0.01, 1, False, False),
    ("top_k", None, None, False, False),
    ("temperature", 0, 2, False, False),
    ("repetition_penalty", None, None, True, False),
    ("top_logprobs", 0, 20, True, True),
    ("min_p", None, 1, False, False),
    ("presence_penalty", -2, 2, True, False),
    ("frequency_penalty", -2, 2, True, False),
)
_BOOLEANS: Final = (
    ("stream", False),
    ("logprobs", True),
    ("echo", False),
    ("parallel_tool_calls", False),
)
_SHAPES: Final[dict[str, Callable[[_Checker, Any, dict[str, Any]], None]]] = {
    "stop": _Checker.stop,
    "stream_options": _Checker.stream_options,
    "logit_bias": _Checker.logit_bias,
    "tools": _Checker.tools,
    "tool_choice": _Checker.tool_choice,
    "response_format": _Checker.response_format,
}
