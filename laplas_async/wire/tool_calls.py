"""Tool calls as they grow: fragments to the calls of a message; pure.

Servers identify a fragment's call by ``index``, by ``id``, by both, or by neither. It refuses to
decode arguments: they stay the JSON text that the model wrote.
"""

import json
from collections.abc import Sequence
from typing import Any

from attrs import define, field

from laplas_async.types import FunctionCall, ToolCall, ToolCallDelta
from laplas_async.wire.fields import GrowingFields


@define(eq=False, repr=False)
class GrowingCall:
    """A tool call that is being received."""

    id: str = ""
    type: str = ""
    name: str = ""
    arguments: list[str] = field(factory=list)
    extra: GrowingFields = field(factory=GrowingFields)
    function_extra: GrowingFields = field(factory=GrowingFields)

    def add(self, name: Any, arguments: Any) -> None:
        """Add a fragment of the function call."""
        # The name arrives whole, in pieces, or repeated with every piece of the arguments.
        if isinstance(name, str) and name != self.name:
            self.name += name
        if isinstance(arguments, str) and arguments:
            self.arguments.append(arguments)

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are complete JSON, so that nothing can continue them."""
        # The last characters first: parsing everything for each piece would be quadratic.
        if not self.arguments or not self.arguments[-1].rstrip().endswith(("}", '"', "]", "null")):
            return False
        try:
            json.loads("".join(self.arguments))
        except ValueError:
            return False
        return True

    def value(self) -> ToolCall:
        """The call as received so far."""
        return ToolCall(
            id=self.id,
            function=FunctionCall(self.name, "".join(self.arguments), self.function_extra.value()),
            type=self.type or "function",
            extra=self.extra.value(),
        )


@define(eq=False, repr=False)
class GrowingCalls:
    """The tool calls of one choice that is being received."""

    calls: list[GrowingCall] = field(factory=list)
    _by_index: dict[int, GrowingCall] = field(factory=dict)

    def arguments(self, index: int) -> list[str]:
        """The arguments of the call at an index, in pieces; append more that are not empty."""
        return self._by_index[index].arguments

    @property
    def size(self) -> int:
        """The number of pieces in which the arguments of all calls were received."""
        return sum(len(call.arguments) for call in self.calls)

    def add(self, fragments: Sequence[ToolCallDelta]) -> None:
        """Add the fragments of one chunk."""
        named: list[GrowingCall] = []  # calls that this chunk named
        for fragment in fragments:
            has_name = fragment.function is not None and bool(fragment.function.name)
            call = self._find(fragment)
            if call is not None and has_name and not fragment.id and call in named:
                call = None  # one chunk names a call once: this is another
            if call is None:
                call = GrowingCall()
                self.calls.append(call)
            if has_name:
                named.append(call)
            if fragment.index is not None:
                self._by_index[fragment.index] = call
            _extend(call, fragment)

    def _find(self, fragment: ToolCallDelta) -> GrowingCall | None:
        """The call to which a fragment belongs; None: it begins a new one."""
        if fragment.index is not None:
            call = self._by_index.get(fragment.index)
        else:
            call = self.calls[-1] if self.calls else None
        if call is None:
            return None
        if fragment.id:
            if call.id and fragment.id != call.id:
                # The same index with a new id is a new call, or an earlier one continued. Some
                # servers give each fragment an id: without a name it continues its call.
                known = next((known for known in self.calls if known.id == fragment.id), None)
                return call if known is None and _only_continues(fragment, call) else known
            return call
        return None if _begins_another(fragment, call) else call


def _only_continues(fragment: ToolCallDelta, call: GrowingCall) -> bool:
    named = fragment.function is not None and bool(fragment.function.name)
    return not named and not call.is_whole


def _begins_another(fragment: ToolCallDelta, call: GrowingCall) -> bool:
    """Whether a fragment without an id cannot continue the call at its place.

    Several calls share index 0 and an empty id: a name after complete arguments begins another,
    unless it only repeats the call's own name.
    """
    function = fragment.function
    if function is None or not function.name or not call.name or not call.is_whole:
        return False
    return function.name != call.name or bool((function.arguments or "").strip())


def _extend(call: GrowingCall, fragment: ToolCallDelta) -> None:
    if fragment.id and not call.id:
        call.id = fragment.id
    if fragment.type:
        call.type = fragment.type
    if fragment.extra:
        call.extra.add(fragment.extra)
    function = fragment.function
    if function is not None:
        call.add(function.name, function.arguments)
        if function.extra:
            call.function_extra.add(function.extra)
