"""``laplas chat`` as a process of its own, or by ``main``, against a simulator in a thread."""

import contextlib
import io
import json
import os
import select
import signal
import subprocess
import sys
from typing import Self

import pytest

from laplas_async.cli import main
from laplas_async.simulator import Fault, Simulator

PATIENCE = 20.0
# A shell's background jobs, and so their children, ignore SIGINT: the test's own must not.
COMMAND = (
    "import signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from laplas_async.__main__ import main\n"
    "sys.exit(main())\n"
)
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX")


def start(*arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # Not -X dev: then asyncio logs each slow turn of the loop, and a busy machine has many.
        [sys.executable, "-W", "error", "-c", COMMAND, "chat", *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out.decode(), err.decode()


def event(text: str) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": {"content": text}}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


FINISHED = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def test_streams_to_a_pipe_as_plain_text(service: Simulator) -> None:
    code, out, err = ended(start("Name a river."))
    assert (code, err) == (0, "")
    assert out.endswith(".\n")
    assert "\x1b" not in out
    [seen] = service.requests
    assert seen.body["stream"] is True
    assert seen.body["messages"] == [{"role": "user", "content": "Name a river."}]
    assert main(["chat", "Name a river.", "--no-stream"]) == 0
    assert service.requests[1].body["stream"] is False


def test_a_piece_is_out_before_the_next_comes(service: Simulator) -> None:
    service.script(Fault.stall(after=1))
    process = start("hi")
    assert process.stdout is not None
    assert process.stdout.read(1)
    assert process.poll() is None
    process.kill()
    ended(process)


def test_all_options_are_sent(service: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    options = {
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "seed": 7,
        "repetition_penalty": 1.1,
        "presence_penalty": -0.5,
        "frequency_penalty": 0.25,
    }
    arguments = ["chat", "hi", "--system", "Be brief.", "--model", "another", "--stop", "x"]
    for name, value in options.items():
        arguments += ["--" + name.replace("_", "-"), str(value)]
    assert main([*arguments, "--stop", "y", "--json"]) == 0
    [seen] = service.requests
    assert seen.body == options | {
        "stream": False,
        "model": "another",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ],
        "stop": ["x", "y"],
    }
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert captured.err == ""


def test_json_is_the_whole_completion(
    service: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", "Name a river.", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert main(["chat", "Name a river."]) == 0
    assert capsys.readouterr().out == body["choices"][0]["message"]["content"] + "\n"


def test_json_loses_nothing_where_the_encoding_lacks_characters(
    service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", fake)
    assert main(["chat", "Name a river.", "--json"]) == 0
    fake.seek(0)
    body = json.loads(fake.read())
    assert not body["choices"][0]["message"]["content"].isascii()


@pytest.mark.parametrize("streamed", [True, False])
def test_stats_go_to_stderr(
    service: Simulator, capsys: pytest.CaptureFixture[str], *, streamed: bool
) -> None:
    service.script(Fault.status(429, retry_after=0), None)
    options = [] if streamed else ["--no-stream"]
    assert main(["chat", "Name a river.", "--stats", *options]) == 0
    captured = capsys.readouterr()
    lines = dict(line.split(": ", 1) for line in captured.err.splitlines())
    assert ("first token" in lines) is streamed
    assert lines["speed"].endswith(" tokens/s")
    assert lines["usage"].endswith(" tokens")
    assert lines["attempts"] == "2"
    assert len(lines["request id"]) == 36
    assert "tokens/s" not in captured.out


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_the_prompt_comes_from_stdin(service: Simulator, arguments: list[str]) -> None:
    process = start(*arguments, stdin=subprocess.PIPE)
    out, err = process.communicate("Nenne einen Fluß.\nBitte.\n".encode(), timeout=PATIENCE)
    assert (process.returncode, err) == (0, b"")
    assert out
    assert service.requests[0].body["messages"][0]["content"] == "Nenne einen Fluß.\nBitte."


@pytest.mark.parametrize("received", [b"", b" \n\n"])
def test_an_empty_prompt_is_wrong_usage(service: Simulator, received: bytes) -> None:
    process = start(stdin=subprocess.PIPE)
    _, err = process.communicate(received, timeout=PATIENCE)
    assert process.returncode == 2
    assert err.startswith(b"laplas: the prompt is empty")
    assert service.counts.requests == 0


def test_stdin_that_is_no_text_is_asked_with_replacements(service: Simulator) -> None:
    process = start(stdin=subprocess.PIPE)
    process.communicate(b"caf\xe9", timeout=PATIENCE)
    assert process.returncode == 0
    assert service.requests[0].body["messages"][0]["content"] == "caf\ufffd"


def test_a_missing_key_says_what_to_do(
    service: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LAPLAS_API_KEY")
    assert main(["chat", "hi"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "export LAPLAS_API_KEY=" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", "9"], "temperature=9: must be a number, 0 to 2"),
        (["--base-url", "nowhere"], "base_url='nowhere'"),
        (["--model", ""], "model=''"),
        (["--stop", ""], "stop="),
    ],
)
def test_what_the_library_refuses_is_wrong_usage(
    service: Simulator, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", "hi", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("laplas: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert service.counts.requests == 0


def test_a_wrong_key_is_one_line_that_does_not_hold_it(
    service: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAPLAS_API_KEY", "another-secret")
    assert main(["chat", "hi"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("laplas: 401: ")
    assert captured.err.count("\n") == 1
    assert "LAPLAS_API_KEY" in captured.err
    assert "another-secret" not in captured.err


def test_a_broken_stream_keeps_its_text(
    service: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    service.script(Fault.cut(after=3))
    assert main(["chat", "hi"]) == 1
    captured = capsys.readouterr()
    assert captured.out.strip()
    assert captured.out.endswith("\n")
    assert captured.err.startswith("laplas: the stream was cut")
    assert "the answer is incomplete" in captured.err
    assert captured.err.count("\n") == 1
    assert service.counts.requests == 1


def test_the_timeout_bounds_it_all_and_keeps_the_text(
    service: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    service.script(Fault.raw(event("so far"), end="stall"))
    assert main(["chat", "hi", "--timeout", "0.4"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "so far\n"
    assert captured.err == "laplas: no complete answer within 0.4 s (--timeout)\n"


def test_what_the_text_hides_is_reported(
    service: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = b'data: {"choices":[{"index":0,"delta":{"refusal":"I would\\nrather not."}}]}\n\n'
    service.script(
        Fault.raw(
            event("long").replace(b"}}]}", b'}, "finish_reason": "length"}]}') + FINISHED[-14:]
        ),
        Fault.raw(refusal + FINISHED),
        Fault.raw(FINISHED),
    )
    assert main(["chat", "hi"]) == 0
    assert capsys.readouterr() == (
        "long\n",
        "laplas: the answer was cut off by the token limit: see --max-tokens\n",
    )
    assert main(["chat", "hi"]) == 0
    assert capsys.readouterr() == ("", "laplas: the model refused: I would rather not.\n")
    assert main(["chat", "hi"]) == 0
    assert capsys.readouterr() == ("", "laplas: the answer has no text (finish reason: stop)\n")


def test_a_key_over_plain_http_is_warned_of_without_a_code_line(
    service: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "http://laplas.invalid/v1"
    assert main(["chat", "hi", "--base-url", url, "--timeout", "0.01"]) == 1
    first, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith(f"laplas: warning: base_url={url!r}: over http://")


@posix
@pytest.mark.parametrize("after", [0, 3])
def test_ctrl_c_is_clean(service: Simulator, after: int) -> None:
    service.script(Fault.stall(after=after))
    process = start("hi")
    assert service.block_until(lambda counts: counts.tokens == after and counts.in_flight == 1, 10)
    if after:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 1)  # unbuffered: communicate() reads the rest
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert (code, err) == (130, "")
    assert service.block_until()


@posix
def test_a_reader_that_goes_away_ends_it_quietly(service: Simulator) -> None:
    # More than a pipe holds: the command is certainly still writing when the reader leaves.
    service.script(Fault.raw(event("word " * 200_000) + FINISHED))
    process = start("hi")
    assert process.stdout is not None
    assert process.stdout.read(10)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(PATIENCE) == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")  # noqa: PTH110
def test_a_full_disk_is_one_line(service: Simulator) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "chat", "hi"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"laplas: cannot read or write: ")
    assert done.stderr.count(b"\n") == 1


# --- on a terminal ----------------------------------------------------------------------------


class Conversation:
    """A process whose input, output and errors are one pseudo-terminal; killed if it lives on."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "chat", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "dumb", "PYTHONIOENCODING": "utf-8"},
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self._master)

    def read_until(self, mark: str) -> str:
        """What was written up to and with the mark."""
        received = b""
        while not received.endswith(mark.encode()):
            data = self.read()
            assert data, received
            received += data
        return received.decode()

    def say(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> int:
        """As a person does, until it heeds: the exit code.

        A signal that comes after readline wrote its prompt and before it waits is seen by
        CPython at the next key only (Modules/readline.c): then it takes a second one.
        """
        for _ in range(int(PATIENCE)):
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(1.0)
        raise AssertionError("it did not end")

    def end(self) -> int:
        """The exit code, once all that was written has been read."""
        while self.read():
            pass
        return self.process.wait(PATIENCE)

    def read(self) -> bytes:
        ready, _, _ = select.select([self._master], [], [], PATIENCE)
        assert ready, "it neither wrote nor ended"
        try:
            return os.read(self._master, 1)
        except OSError:  # how Linux reports the end
            return b""


@posix
def test_a_conversation_remembers(service: Simulator) -> None:
    service.script(None, None, Fault.cut(after=2), Fault.status(500, retry_after=0), None)
    with Conversation("--system", "Be brief.", "--max-tokens", "8") as talk:
        talk.read_until("> ")
        for question in ("one", "two", "broken", "four"):
            talk.say(f"{question}\n")
            talk.read_until("> ")
        talk.say("\n")
        assert talk.end() == 0
    first, second, _, _, last = (seen.body["messages"] for seen in service.requests)
    assert [message["role"] for message in first] == ["system", "user"]
    roles = ["system", "user", "assistant", "user", "assistant", "user"]
    assert [message["role"] for message in second] == roles[:4]
    # What broke is no part of it.
    assert [message["role"] for message in last] == roles
    assert last[:3] == second[:3]
    assert last[-1]["content"] == "four"


@posix
def test_a_conversation_ends_at_ctrl_d(service: Simulator) -> None:
    with Conversation() as talk:
        talk.read_until("> ")
        talk.say("\x04")
        assert talk.end() == 0
    assert service.counts.requests == 0


@posix
def test_a_conversation_ends_at_what_the_next_question_would_meet_too(service: Simulator) -> None:
    service.script(Fault.status(401))
    with Conversation() as talk:
        talk.read_until("> ")
        talk.say("hi\n")
        talk.read_until("laplas: 401: ")
        assert talk.end() == 1


@posix
def test_ctrl_c_at_the_prompt_ends_a_conversation(service: Simulator) -> None:
    with Conversation() as talk:
        talk.read_until("> ")
        assert talk.interrupt() == 130


@posix
def test_a_retry_is_shown_on_a_terminal(service: Simulator) -> None:
    service.script(Fault.status(503, retry_after=0), None)
    with Conversation("hi") as talk:
        talk.read_until("laplas: attempt 1 failed (503: ")
        assert talk.end() == 0


@posix
def test_reasoning_is_dimmed_on_a_terminal(service: Simulator) -> None:
    service.script(Fault.shape("reasoning_content"))
    received = b""
    with Conversation("hi") as talk:
        while data := talk.read():
            received += data
        assert talk.process.wait(PATIENCE) == 0
    reasoning, _, answer = received.partition(b"\x1b[22m\r\n\r\n")
    assert reasoning.startswith(b"\x1b[2m")
    assert answer.strip()
    assert b"\x1b" not in answer
