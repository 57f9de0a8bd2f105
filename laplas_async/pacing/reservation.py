"""How many tokens a request will use: estimated before it is sent, learned from usage afterwards.

Pure arithmetic. It refuses to count tokens exactly: that would need the model's own tokenizer.
"""

from attrs import define, frozen

from laplas_async.types import Usage

DEFAULT_MAX_TOKENS = 512
"""Tokens of a completion when ``max_tokens`` is not set: the default that the service documents."""

# English prose takes about four bytes a token, so that is the assumption until usage is reported.
# Compact JSON, numbers and emoji differ by 29 to 65 %, hence the learning.
_BYTES_PER_TOKEN = 4.0
# An observation outside of this range is no text: an inline image is megabytes and few tokens.
_LEAST_BYTES_PER_TOKEN, _MOST_BYTES_PER_TOKEN = 0.5, 20.0
# The weight of the newest observation: after ten of a new kind two thirds of the way are covered.
_WEIGHT = 0.1
# Completions vary; half as much again as the mean is seldom exceeded, and what was reserved in
# excess returns with the usage.
_MARGIN = 1.5


@frozen
class RequestSize:
    """What is known of a request's size before it is sent.

    ``body_bytes``: the encoded body; ``max_tokens``: of one choice, None for the service's default.
    """

    body_bytes: int = 0
    max_tokens: int | None = None
    choices: int = 1


@define
class TokenEstimate:
    """An estimate of tokens per request that follows the usage the service reports."""

    bytes_per_token: float = _BYTES_PER_TOKEN
    mean_completion: float | None = None
    """Mean completion tokens of one choice; None before any usage was reported."""

    def tokens(self, size: RequestSize) -> int:
        """The tokens to reserve for a request: its prompt and its choices."""
        most = DEFAULT_MAX_TOKENS if size.max_tokens is None else size.max_tokens
        mean = self.mean_completion
        completion = most if mean is None else min(most, _MARGIN * mean)
        return int(size.body_bytes / self.bytes_per_token + completion * size.choices)

    def learn(self, size: RequestSize, usage: Usage) -> None:
        """Follow what one request used, streamed or not."""
        if usage.prompt_tokens > 0 and size.body_bytes > 0:
            observed = size.body_bytes / usage.prompt_tokens
            observed = min(_MOST_BYTES_PER_TOKEN, max(_LEAST_BYTES_PER_TOKEN, observed))
            self.bytes_per_token += _WEIGHT * (observed - self.bytes_per_token)
        if usage.completion_tokens > 0:
            observed = usage.completion_tokens / size.choices
            mean = observed if self.mean_completion is None else self.mean_completion
            self.mean_completion = mean + _WEIGHT * (observed - mean)


def total_tokens(usage: Usage) -> int | None:
    """What the request used in all; None where the service counted nothing."""
    return usage.total_tokens or usage.prompt_tokens + usage.completion_tokens or None
