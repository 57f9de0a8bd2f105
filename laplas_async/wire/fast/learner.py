"""``FormLearner``: when to learn the form of a stream's events, and when to give one up.

Learning costs several times what decoding an event costs, so a stream whose events share no form
must not pay for it again and again. It refuses to know how a form reads an event: ``text_form`` and
``field_form`` do.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from laplas_async.types import ChatCompletionChunk
from laplas_async.wire.accumulate import Accumulator
from laplas_async.wire.fast.field_form import FieldForm
from laplas_async.wire.fast.text_form import LARGEST_EVENT, TextForm

# Events between two attempts to learn, at most. It doubles with each form that fits nothing, so
# the attempts cost less than 0.1 % of a long stream (test_chunks: forms that never fit).
_LONGEST_PAUSE = 4096
_MOST_DOUBLINGS = 16


class Form(Protocol):
    """The bytes that all events of a stream share, and the places where they differ."""

    @property
    def used(self) -> bool:
        """Whether an event has been read by it."""
        ...

    @property
    def index(self) -> int:
        """The choice to which its texts belong."""
        ...

    @property
    def text_index(self) -> int | None:
        """The choice to whose content its items belong, if they are texts of it."""
        ...

    @property
    def sample(self) -> bytes:
        """An event of this form."""
        ...

    def read(self, blocks: Sequence[bytes], start: int) -> list[Any]:
        """Read as many blocks from ``start`` on as have this form; one item for each."""
        ...

    @property
    def chunk(self) -> Callable[[Any], ChatCompletionChunk]:
        """The function that makes the chunk of one item."""
        ...

    def add(self, items: list[Any], accumulator: Accumulator) -> None:
        """Add some of its items to the completion."""
        ...

    def single_reader(
        self, accumulator: Accumulator
    ) -> Callable[[bytes], ChatCompletionChunk | None]:
        """A function for bytes that may be exactly one event of this form, and nothing else.

        It returns the chunk and adds it to the completion, or None if the bytes are not that.
        """
        ...


class FormLearner:
    """Holds the form of the events of one stream, while they have one."""

    __slots__ = ("_before", "_in_vain", "_pause", "enabled", "form")

    def __init__(self) -> None:
        self.form: Form | None = None
        self.enabled = True  # False once texts may hold halves of characters
        self._before: bytes | None = None  # the previous event, if it has no form
        self._in_vain = 0  # forms in succession that fitted no event
        self._pause = 0  # events until the next is worth learning

    def disable(self) -> None:
        """Learn no more: an event needs to be repaired, which no form does."""
        self.enabled = False
        self.form = None

    def learn(self, block: bytes, chunk: ChatCompletionChunk) -> None:
        """Learn the form from an event that no form could read, and from the chunk it holds.

        Events without text, such as the first and the last, are unlike all others: they are left
        out.
        """
        if isinstance(self.form, TextForm) and not self.form.agrees(chunk):
            self._before, self.form = self.form.sample, None
        deltas = [choice.delta for choice in chunk.choices]
        if not any(delta.content or delta.extra or delta.tool_calls for delta in deltas):
            return
        form = self.form
        used = form is not None and form.used
        if self._pause:
            self._pause -= 1
            if form is not None and not used:  # it fits none, so it is not tried any more
                self._before, self.form = form.sample, None
            return
        self._in_vain = 0 if used else self._in_vain + 1
        self._pause = min(_LONGEST_PAUSE, 2 ** min(self._in_vain, _MOST_DOUBLINGS) - 1)
        before = self._before if form is None else form.sample
        self._before = self.form = None
        if self.enabled:
            if before is not None and not (used and isinstance(form, TextForm)):
                self.form = FieldForm.learn(before, block, chunk)
            if self.form is None:
                self.form = TextForm.learn(block, chunk)
        if self.form is None and len(block) <= LARGEST_EVENT:
            self._before = block
