"""``laplas chat``: one prompt, or a conversation, with the answer streamed.

The model's reasoning is shown dimmed, on a terminal alone.

Options are named like the API's fields and passed on unchanged. It refuses to check ranges, which
the library does, and to keep a conversation anywhere but in memory.
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
    ChatStream,
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
from laplas_async.cli.options import add_client_options, add_numbers, seconds
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
# These end a conversation: the next prompt would fail in the same way.
_FATAL = (AuthenticationError, ConfigError, NotFoundError, PermissionDeniedError)


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``laplas chat`` to the command line."""
    chat = commands.add_parser(
        "chat",
        help="send a prompt and stream the answer",
        description="Send a prompt to the model and stream its answer to stdout. The key is read "
        "from LAPLAS_API_KEY only.",
        allow_abbrev=False,
    )
    chat.add_argument(
        "prompt",
        nargs="?",
        metavar="PROMPT",
        help="the prompt; - or none: read it from stdin; none on a terminal: a conversation, "
        "ended by an empty line or Ctrl-D",
    )
    add_client_options(chat)
    chat.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="limit for the whole answer, retries included",
    )
    format_ = chat.add_mutually_exclusive_group()
    format_.add_argument(
        "--json", action="store_true", help="print the whole completion as one JSON object"
    )
    format_.add_argument(
        "--no-stream", action="store_true", help="print the answer once it is complete"
    )
    chat.add_argument(
        "--stats",
        action="store_true",
        help="print time to first token, tokens per second, usage, request id and attempts to "
        "stderr",
    )
    sampling = chat.add_argument_group("sampling", "sent only if given; the service has defaults")
    add_numbers(
        sampling,
        ("--max-tokens", "N", "at least 1"),
        ("--temperature", "T", "0 to 2"),
        ("--top-p", "P", "0.01 to 1"),
        ("--top-k", "K", "only the K most likely tokens"),
        ("--min-p", "P", "0 to 1"),
        ("--seed", "N", "at least 1"),
        ("--repetition-penalty", "R", "1 means none"),
        ("--presence-penalty", "P", "-2 to 2"),
        ("--frequency-penalty", "P", "-2 to 2"),
    )
    sampling.add_argument(
        "--stop", action="append", metavar="TEXT", help="stop before this text; up to 4 times"
    )


def run(arguments: argparse.Namespace) -> int:
    """Send one prompt, or hold a conversation. Raises ``LaplasError`` and ``OSError``."""
    check_key()
    prompt = _read_prompt(arguments.prompt)
    output = Output()
    client = make_client(arguments)
    conversation = _Conversation(client, output, arguments)
    with _report_retries(), make_runner() as runner:
        try:
            if prompt is None:
                _converse(runner, conversation)
            else:
                runner.run(conversation.ask([*conversation.opening, Message("user", prompt)]))
        finally:
            runner.run(client.aclose())
    return 0


def _read_prompt(argument: str | None) -> str | None:
    """The prompt; None for a conversation. Raises ``ConfigError`` if there is none."""
    if argument not in (None, "-"):
        prompt = argument
    elif sys.stdin is None:
        raise ConfigError("no prompt: give one, as in `laplas chat 'Name a river.'`")
    elif argument is None and sys.stdin.isatty():
        return None
    else:
        tolerate(sys.stdin)
        prompt = sys.stdin.read().rstrip("\r\n")
    if not prompt or not prompt.strip():
        raise ConfigError("the prompt is empty: give one, as in `laplas chat 'Name a river.'`")
    # An argument may contain bytes that are not text (a file name, say): they cannot be sent.
    return prompt.encode("utf-8", "replace").decode("utf-8")


@contextmanager
def _report_retries() -> Iterator[None]:
    """Print retries on a terminal, as they can take minutes."""
    logger = logging.getLogger("laplas_async")
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    handler, level = _Printer(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Printer(logging.Handler):
    """Prints a log record as a line on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


def _converse(runner: asyncio.Runner, conversation: "_Conversation") -> None:
    """Prompt and answer until an empty line or Ctrl-D. Errors are printed; some are temporary."""
    with suppress(ImportError):
        import_module("readline")  # line editing for input()
    tolerate(sys.stdin)
    history = conversation.opening
    note("Enter a prompt; an empty line or Ctrl-D ends.")
    # input() blocks, and could not be interrupted in a thread: the event loop stops meanwhile.
    while prompt := _read_line(is_terminal=conversation.output.is_terminal):
        message = Message("user", prompt)
        try:
            completion = runner.run(conversation.ask([*history, message]))
        except _FATAL:
            raise
        except LaplasError as error:
            complain(describe(error))
            continue
        if completion.text:
            history = [*history, message, completion.message]


def _read_line(*, is_terminal: bool) -> str:
    if not is_terminal:
        print("> ", end="", file=sys.stderr, flush=True)
    try:
        return input("> " if is_terminal else "").strip()
    except EOFError:
        note("")  # leaves the line of the prompt
        return ""


class _Conversation:
    """The client, the parameters of each call, and where the answers go."""

    def __init__(self, client: LaplasClient, output: Output, arguments: argparse.Namespace) -> None:
        self.client = client
        self.output = output
        self.opening = [] if arguments.system is None else [Message("system", arguments.system)]
        self._arguments = arguments
        self._parameters: dict[str, Any] = {
            name: value for name in _SAMPLING if (value := getattr(arguments, name)) is not None
        }
        if arguments.timeout is not None:  # then it is the only limit, for all attempts together
            self._parameters["timeouts"] = Timeouts(first_token=None, idle=None, total=None)

    async def ask(self, messages: Sequence[Message]) -> ChatCompletion:
        """Send, write the answer and end its line. Raises ``LaplasError``; shown text stays."""
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
            raise RequestTimeoutError(
                f"no complete answer within {timeout:g} s (--timeout)"
            ) from None
        except LaplasError:
            self.output.end_line()
            raise
        clock.stop()
        self.output.end_line()
        self._report(completion, clock)
        return completion

    async def _stream(self, messages: Sequence[Message], clock: "_Clock") -> ChatCompletion:
        stream: ChatStream = self.client.stream(messages, **self._parameters)
        async with stream:
            async for chunk in stream:
                if reasoning := chunk.reasoning:
                    clock.see_token()
                    self.output.write_reasoning(reasoning)
                if text := chunk.text:
                    clock.see_token()
                    self.output.write(text)
            return await stream.completion()

    def _write_whole(self, completion: ChatCompletion) -> None:
        if self._arguments.json:
            ascii_only = not self.output.is_unicode  # then nothing needs replacing
            self.output.write(json.dumps(to_dict(completion), ensure_ascii=ascii_only) + "\n")
        else:
            self.output.write_reasoning(completion.message.reasoning or "")
            self.output.write(completion.text)

    def _report(self, completion: ChatCompletion, clock: "_Clock") -> None:
        """Print what the text alone does not show, and the numbers if requested."""
        if not self._arguments.json:
            if completion.message.refusal:
                complain(f"the model refused: {completion.message.refusal}")
            elif not completion.text:
                complain(f"the answer has no text (finish reason: {completion.finish_reason})")
            elif completion.finish_reason == "length" and self._arguments.max_tokens is None:
                complain("the answer was cut off by the token limit: see --max-tokens")
        if self._arguments.stats:
            for line in _stats(completion, clock):
                note(line)


@define
class _Clock:
    """When things happened, in seconds of a monotonic clock."""

    started: float = field(factory=time.perf_counter)
    first: float | None = None
    ended: float = 0.0

    def see_token(self) -> None:
        if self.first is None:
            self.first = time.perf_counter()

    def stop(self) -> None:
        self.ended = time.perf_counter()


def _stats(completion: ChatCompletion, clock: _Clock) -> list[str]:
    """Lines of numbers that were measured here or reported by the service."""
    whole = clock.ended - clock.started
    lines = []
    if clock.first is not None:
        lines.append(f"first token: {clock.first - clock.started:.3f} s")
    lines.append(f"whole answer: {whole:.3f} s")
    usage = completion.usage
    if usage is not None:
        # The speed is that of the tokens after the first, if the answer was streamed.
        streamed = clock.first is not None and usage.completion_tokens > 1
        tokens = usage.completion_tokens - 1 if streamed else usage.completion_tokens
        span = clock.ended - clock.first if streamed and clock.first is not None else whole
        if tokens > 0 and span > 0:
            lines.append(f"speed: {tokens / span:.1f} tokens/s")
        lines.append(
            f"usage: {usage.prompt_tokens} prompt + {usage.completion_tokens} completion"
            f" = {usage.total_tokens} tokens"
        )
        for name, count in (
            ("reasoning tokens", usage.reasoning_tokens),
            ("cached tokens", usage.cached_tokens),
        ):
            if count:
                lines.append(f"{name}: {count}")
    if completion.cost is not None:
        for name, value in (
            ("credits used", completion.cost.credits_used),
            ("USD spent", completion.cost.usd_spent),
        ):
            if value is not None:
                lines.append(f"{name}: {value:g}")
    lines.append(f"finish reason: {completion.finish_reason}")
    lines.append(f"request id: {completion.request_id or 'none'}")
    lines.append(f"attempts: {len(completion.attempts)}")
    return lines
