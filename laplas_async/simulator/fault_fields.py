"""The data of a fault: which kind it is and the values that the kinds use.

Pure data. Users build faults with the class methods of ``Fault``; ``delivery`` reads the fields.
"""

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, fields, frozen
from attrs.validators import ge, optional

End = Literal["clean", "cut", "reset", "stall", "open"]
ErrorFraming = Literal["data", "line", "bare"]
Body = dict[str, Any] | list[Any] | str | bytes | None


def _check_status(_fault: Any, _attribute: Any, value: int) -> None:
    if not 200 <= value <= 599:
        raise ValueError(f"a status must be 200 to 599, not {value!r}")


def _check_chunk(_fault: Any, _attribute: Any, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"chunk must be 1 or more bytes, not {value!r}")


@frozen(kw_only=True, repr=False)
class FaultFields:
    """The fields of a fault; each kind uses some of them."""

    kind: str
    after: int = field(default=0, validator=ge(0))
    code: int | None = field(default=None, validator=optional(_check_status))
    body: Body = None
    headers: Mapping[str, str] = field(factory=dict)
    data: bytes = b""
    pieces: tuple[bytes, ...] | None = None
    chunk: int | None = field(default=None, validator=_check_chunk)
    end: End = "clean"
    content_type: str = "text/event-stream"
    content_encoding: str | None = None
    seconds: float = field(default=0.0, validator=ge(0))
    size: int = 0
    event: str | None = None
    framing: ErrorFraming = "data"
    ping: bool = False
    done: bool = True
    shapes: tuple[str, ...] = ()
    reason: str | None = None
    tokens: int | None = field(default=None, validator=optional(ge(0)))
    error: Any = None
    line_end: str = "\n"
    bom: bool = False
    space: bool = True
    comments: bool = False
    multiline: bool = False
    extra_fields: bool = False
    per_write: int = field(default=1, validator=ge(1))

    def __repr__(self) -> str:
        """Show the kind and the values that differ from the defaults."""
        default = type(self)(kind=self.kind)
        values = [
            f"{one.name}={getattr(self, one.name)!r}"
            for one in fields(type(self))
            if one.name != "kind" and getattr(self, one.name) != getattr(default, one.name)
        ]
        return f"Fault.{self.kind}({', '.join(values)})"
