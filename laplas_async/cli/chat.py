"""``laplas chat``: one question, or a conversation, with the answer streamed.

The parser's names are the API's, so what was given goes on as it is. It refuses to check ranges,
which is the library's, and to keep a conversation anywhere but in memory.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from attrs import define, field

from laplas_async import (
    AuthenticationError,
    ChatCompletion,
    ConfigError,
    LaplasClient,
    LaplasError,
    Message,
    NotFoundError,
    PermissionDeniedError,
    RequestTimeoutError,
    Timeouts,
    to_dict,
)
from laplas_async.cli.connect import check_key, make_client
from laplas_async.cli.terminal import Output, complain, describe, make_runner, note, tolerate

_SAMPLING = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
)
# In a conversation these end it: the next question would meet them too.
_HOPELESS = (AuthenticationError, ConfigError, NotFoundError, PermissionDeniedError)


def run(arguments: argparse.Namespace) -> int:
    """Ask once, or hold a conversation. Raises ``LaplasError``, ``OSError``, KeyboardInterrupt."""
    check_key()
    prompt = _read_prompt(arguments.prompt)
    output = Output()
    client = make_client(arguments)
    asking = _Asking(client, output, arguments)
    with _retries_told(), make_runner() as runner:
        try:
            if prompt is None:
                _converse(runner, asking)
            else:
                runner.run(asking.ask([*asking.opening, Message("user", prompt)]))
        finally:
            runner.run(client.aclose())
    return 0


def _read_prompt(told: str | None) -> str | None:
    """The question; None for a conversation. Raises ``ConfigError`` if there is none."""
    if told not in (None, "-"):
        prompt = told
    elif sys.stdin is None:
        raise ConfigError("no prompt: give one, as in `laplas chat 'Name a river.'`")
    elif told is None and sys.stdin.isatty():
        return None
    else:
        tolerate(sys.stdin)
        prompt = sys.stdin.read().rstrip("\r\n")
    if not prompt or not prompt.strip():
        raise ConfigError("the prompt is empty: give one, as in `laplas chat 'Name a river.'`")
    # A file's name in an argument may hold bytes that are no text: they cannot be sent.
    return prompt.encode("utf-8", "replace").decode("utf-8")


@contextmanager
def _retries_told() -> Iterator[None]:
    """Say on a terminal what is waited for, as retries take up to minutes."""
    logger = logging.getLogger("laplas_async")
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    handler, level = _Teller(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Teller(logging.Handler):
    """A log record as a line on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


def _converse(runner: asyncio.Runner, asking: "_Asking") -> None:
    """Question and answer until an empty line or Ctrl-D; an error is told, and may be overcome."""
    with suppress(ImportError):
        import_module("readline")  # line editing for input()
    tolerate(sys.stdin)
    history = asking.opening
    note("Ask; an empty line or Ctrl-D ends.")
    # input() blocks, and a thread in it could not be interrupted: the loop rests meanwhile.
    while question := _read_line(is_terminal=asking.output.is_terminal):
        said = Message("user", question)
        try:
            completion = runner.run(asking.ask([*history, said]))
        except _HOPELESS:
            raise
        except LaplasError as error:
            complain(describe(error))
            continue
        if completion.text:
            history = [*history, said, completion.message]


def _read_line(*, is_terminal: bool) -> str:
    if not is_terminal:
        print("> ", end="", file=sys.stderr, flush=True)
    try:
        return input("> " if is_terminal else "").strip()
    except EOFError:
        note("")  # leaves the prompt's line
        return ""


class _Asking:
    """How this command asks: the client, its parameters, and where the answer goes."""

    def __init__(self, client: LaplasClient, output: Output, arguments: argparse.Namespace) -> None:
        self.client = client
        self.output = output
        self.opening = [] if arguments.system is None else [Message("system", arguments.system)]
        self._arguments = arguments
        self._parameters: dict[str, Any] = {
            name: value for name in _SAMPLING if (value := getattr(arguments, name)) is not None
        }
        if arguments.timeout is not None:  # then it is the only bound, and that of all the tries
            self._parameters["timeouts"] = Timeouts(first_token=None, idle=None, total=None)

    async def ask(self, messages: Sequence[Message]) -> ChatCompletion:
        """Ask, write the answer, end its line. Raises ``LaplasError``; what had come stays."""
        timeout = self._arguments.timeout
        clock = _Clock()
        try:
            async with asyncio.timeout(timeout):
                if self._arguments.json or self._arguments.no_stream:
                    completion = await self.client.complete(messages, **self._parameters)
                    self._write_whole(completion)
                else:
                    completion = await self._stream(messages, clock)
        except TimeoutError as error:
            self.output.end_line()
            if isinstance(error, LaplasError):
                raise
            raise RequestTimeoutError(f"no whole answer within {timeout:g} s (--timeout)") from None
        except LaplasError:
            self.output.end_line()
            raise
        clock.stop()
        self.output.end_line()
        self._tell(completion, clock)
        return completion

    async def _stream(self, messages: Sequence[Message], clock: "_Clock") -> ChatCompletion:
        async with self.client.stream(messages, **self._parameters) as stream:
            async for text in stream.text():
                clock.see_text()
                self.output.write(text)
            return await stream.completion()

    def _write_whole(self, completion: ChatCompletion) -> None:
        if self._arguments.json:
            ascii_only = not self.output.is_unicode  # then nothing needs replacing
            self.output.write(json.dumps(to_dict(completion), ensure_ascii=ascii_only) + "\n")
        else:
            self.output.write(completion.text)

    def _tell(self, completion: ChatCompletion, clock: "_Clock") -> None:
        """What the text alone would hide, and the numbers if they were asked for."""
        if not self._arguments.json:
            if completion.message.refusal:
                complain(f"the model refused: {completion.message.refusal}")
            elif not completion.text:
                complain(f"the answer has no text (finish reason: {completion.finish_reason})")
            elif completion.finish_reason == "length" and self._arguments.max_tokens is None:
                complain("the answer was ended by the token limit: see --max-tokens")
        if self._arguments.stats:
            for line in _stats(completion, clock):
                note(line)


@define
class _Clock:
    """When things happened, in seconds of a clock that never goes back."""

    started: float = field(factory=time.perf_counter)
    first: float | None = None
    ended: float = 0.0

    def see_text(self) -> None:
        if self.first is None:
            self.first = time.perf_counter()

    def stop(self) -> None:
        self.ended = time.perf_counter()


def _stats(completion: ChatCompletion, clock: _Clock) -> list[str]:
    """Lines of numbers; only what was measured here or told by the service."""
    whole = clock.ended - clock.started
    lines = []
    if clock.first is not None:
        lines.append(f"first token: {clock.first - clock.started:.3f} s")
    lines.append(f"whole answer: {whole:.3f} s")
    usage = completion.usage
    if usage is not None:
        # The first token marks the start of the rest's time; an unstreamed answer has no such.
        streamed = clock.first is not None and usage.completion_tokens > 1
        tokens = usage.completion_tokens - 1 if streamed else usage.completion_tokens
        span = clock.ended - clock.first if streamed and clock.first is not None else whole
        if tokens > 0 and span > 0:
            lines.append(f"speed: {tokens / span:.1f} tokens/s")
        lines.append(
            f"usage: {usage.prompt_tokens} prompt + {usage.completion_tokens} completion"
            f" = {usage.total_tokens} tokens"
        )
    if completion.cost is not None:
        for name, value in (
            ("credits used", completion.cost.credits_used),
            ("USD spent", completion.cost.usd_spent),
        ):
            if value is not None:
                lines.append(f"{name}: {value:g}")
    lines.append(f"finish reason: {completion.finish_reason}")
    lines.append(f"request id: {completion.request_id or 'none told'}")
    lines.append(f"tries: {len(completion.attempts)}")
    return lines
