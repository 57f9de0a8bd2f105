"""Values that grow over the chunks of a stream: unknown fields, and lists of content parts; pure.

It refuses to interpret them: it joins what belongs together and keeps everything else as received.
"""

from typing import Any

from attrs import define, field

from laplas_async.types import REASONING_PARTS, TEXT_PARTS

_GROWING_PARTS = frozenset({*TEXT_PARTS, *REASONING_PARTS})


@define(eq=False, repr=False)
class GrowingFields:
    """Unknown fields as they grow: text and lists are extended, everything else is replaced.

    Text is kept in pieces: a model's reasoning arrives in such a field, token by token.
    """

    texts: dict[str, list[str]] = field(factory=dict)
    others: dict[str, Any] = field(factory=dict)

    def add(self, more: dict[str, Any]) -> None:
        """Add the fields of one chunk."""
        for name, value in more.items():
            if isinstance(value, str):
                self.texts.setdefault(name, []).append(value)
            elif isinstance(value, list) and isinstance(old := self.others.get(name), list):
                old.extend(value)
            else:
                self.others[name] = list(value) if isinstance(value, list) else value

    def value(self) -> dict[str, Any]:
        """The fields as received so far."""
        others = {k: list(v) if isinstance(v, list) else v for k, v in self.others.items()}
        return others | {name: "".join(pieces) for name, pieces in self.texts.items()}


@define(eq=False, repr=False)
class GrowingParts:
    """A list of content parts as it grows: text and thoughts are extended, others are appended."""

    parts: list[Any] = field(factory=list)
    has_answer: bool = False  # a part other than the model's thoughts was received

    def add(self, part: Any) -> None:
        """Add one part of a chunk."""
        kind = part.get("type") if isinstance(part, dict) else None
        self.has_answer = self.has_answer or kind not in REASONING_PARTS
        if not isinstance(kind, str) or kind not in _GROWING_PARTS:
            self.parts.append(part)
            return
        last = self.parts[-1] if self.parts else None
        if not isinstance(last, _GrowingPart) or not last.is_continued_by(part):
            last = _GrowingPart(kind, part.get("index"))
            self.parts.append(last)
        last.add(part)

    def value(self, *, then: str = "") -> list[Any]:
        """The list as received so far, with the text ``then`` after it."""
        parts = [part.value() if isinstance(part, _GrowingPart) else part for part in self.parts]
        if then:
            last = self.parts[-1] if parts else None
            if isinstance(last, _GrowingPart) and last.is_continued_by({"type": "text"}):
                parts[-1]["text"] = parts[-1].get("text", "") + then
            else:
                parts.append({"type": "text", "text": then})
        return parts


@define(eq=False, repr=False)
class _GrowingPart:
    """One part of text or thoughts; thoughts may be a list of parts themselves."""

    kind: str
    index: Any
    fields: dict[str, Any] = field(factory=dict)

    def is_continued_by(self, part: dict[str, Any]) -> bool:
        return bool(part["type"] == self.kind and part.get("index") == self.index)

    def add(self, part: dict[str, Any]) -> None:
        for name, value in part.items():
            old = self.fields.get(name)
            if name not in ("text", self.kind) or name == "type":
                self.fields[name] = value
            elif isinstance(value, str):
                if not isinstance(old, _Pieces):
                    old = self.fields[name] = _Pieces()
                old.texts.append(value)
            elif isinstance(value, list):
                if not isinstance(old, GrowingParts):
                    old = self.fields[name] = GrowingParts()
                for item in value:
                    old.add(item)
            else:
                self.fields[name] = value

    def value(self) -> dict[str, Any]:
        return {
            name: value.value() if isinstance(value, _Pieces | GrowingParts) else value
            for name, value in self.fields.items()
        }


@define(eq=False, repr=False)
class _Pieces:
    """A text in pieces, joined when needed: adding each to the last would be quadratic."""

    texts: list[str] = field(factory=list)

    def value(self) -> str:
        return "".join(self.texts)
