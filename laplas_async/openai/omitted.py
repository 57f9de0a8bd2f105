"""``NOT_GIVEN`` and ``omit``: openai's two ways to say that an argument is not there."""

from typing import Any, Literal


class NotGiven:
    """The type of ``NOT_GIVEN``. False, and never sent."""

    def __bool__(self) -> Literal[False]:
        """Not given is false."""
        return False

    def __repr__(self) -> str:
        return "NOT_GIVEN"


class Omit:
    """The type of ``omit``. False, and never sent."""

    def __bool__(self) -> Literal[False]:
        """Omitted is false."""
        return False


NOT_GIVEN = not_given = NotGiven()
omit = Omit()


def is_given(value: Any) -> bool:
    """Whether an argument was passed at all; None counts as passed."""
    return not isinstance(value, NotGiven | Omit)


def given(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were passed."""
    return {name: value for name, value in arguments.items() if is_given(value)}
