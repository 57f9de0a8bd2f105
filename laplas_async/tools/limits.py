"""What a tool run may take at most. A run without limits does not exist."""

from attrs import fields, frozen

from laplas_async.errors import ConfigError

DEFAULT_COST_USD = 1.0


@frozen
class RunLimits:
    """The limits of one tool run; reaching one raises ``RunLimitError``.

    ``rounds``: requests to the model. ``tool_calls``: calls over all rounds. ``tokens``: prompt and
    completion, over all rounds. ``cost_usd``: US dollars; needs a known price, and None means 1
    dollar where the cost is known. ``seconds``: of the whole run.
    """

    rounds: int = 10
    tool_calls: int = 50
    tokens: int = 200_000
    cost_usd: float | None = None
    seconds: float = 300.0

    def __attrs_post_init__(self) -> None:
        for attribute in fields(RunLimits):
            name = attribute.name
            value = getattr(self, name)
            if name == "cost_usd" and value is None:
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            whole = name in ("cost_usd", "seconds") or isinstance(value, int)
            if not number or not whole or not value > 0:
                kind = "a number" if name in ("cost_usd", "seconds") else "an integer"
                raise ConfigError(f"RunLimits.{name}={value!r}: must be {kind} above 0")
