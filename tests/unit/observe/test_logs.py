"""One line per call, with fields, and without content or key."""

import logging
from typing import Any

import pytest

from laplas_async.observe.logs import Logs, fields_of
from laplas_async.observe.records import AttemptRecord, CallRecord
from laplas_async.types import Attempt, Cost, Usage

CALL = CallRecord(
    id="abc",
    model="m",
    server="host",
    port=443,
    streaming=True,
    labels={"job": "two words"},
    attempts=(AttemptRecord(1, Attempt(0.0, 1.5, 200, "r-1"), gate_wait=1.5),),
    duration=2.00001,
    gate_wait=1.5,
    chunks=3,
    finish_reasons=("stop",),
    usage=Usage(3, 4, 7),
    cost=Cost(usd_spent=0.25),
    cost_usd=0.25,
    request_id="r-1",
    outcome="ok",
)


def test_a_call_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="laplas_async.calls"):
        logs = Logs()
        logs.call_started(CALL)
        logs.attempt_ended(CALL, CALL.attempts[0])
        logs.call_ended(CALL)
    [record] = caplog.records
    assert record.levelno == logging.INFO
    message = record.getMessage()
    assert "outcome=ok" in message
    assert "label_job='two words'" in message
    assert record.laplas_completion_tokens == 4  # type: ignore[attr-defined]
    assert record.laplas_gate_wait == 1.5  # type: ignore[attr-defined]


def test_a_failed_call_is_logged_without_the_message_of_the_service(
    caplog: pytest.LogCaptureFixture,
) -> None:
    call = CallRecord(
        id="x",
        model="m",
        server="h",
        port=None,
        streaming=False,
        outcome="error",
        error_type="BadRequestError",
        error="400: your prompt 'secret' is too long",
    )
    with caplog.at_level(logging.INFO, logger="laplas_async.calls"):
        Logs().call_ended(call)
    [record] = caplog.records
    assert record.levelno == logging.INFO
    assert "secret" not in record.getMessage()
    assert "error_type=BadRequestError" in record.getMessage()


def test_unknown_values_are_absent() -> None:
    fields = fields_of(CallRecord(id="x", model="m", server="h", port=None, streaming=False))
    assert "prompt_tokens" not in fields
    assert "cost_usd" not in fields


def test_a_line_break_in_a_label_makes_no_second_line(caplog: pytest.LogCaptureFixture) -> None:
    call = CallRecord("x", "m", "h", None, streaming=False, labels={"a": "b\nfake"}, outcome="ok")
    with caplog.at_level(logging.INFO, logger="laplas_async.calls"):
        Logs().call_ended(call)
    assert "\n" not in caplog.records[0].getMessage()


def test_another_logger_may_be_used(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mine"):
        Logs(logging.getLogger("mine")).call_ended(CALL)
    assert caplog.records[0].name == "mine"


def test_nothing_is_written_when_the_level_is_off(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("quiet")
    logger.setLevel(logging.WARNING)
    Logs(logger).call_ended(CALL)
    assert not caplog.records


def test_a_structured_logger_gets_the_fields_as_keywords() -> None:
    class Structured:
        """As structlog's loggers are called."""

        def info(self, event: str, **fields: Any) -> None:
            lines.append((event, fields))

    lines: list[tuple[str, dict[str, Any]]] = []
    Logs(Structured()).call_ended(CALL)
    assert lines == [("chat", fields_of(CALL))]


@pytest.mark.parametrize("value", ["a=b outcome=ok", "b\nfake", "quote'd", 'double"d', "\x1b[31m"])
def test_a_label_cannot_forge_a_field(value: str, caplog: pytest.LogCaptureFixture) -> None:
    call = CallRecord("x", "m", "h", None, streaming=False, labels={"a": value}, outcome="ok")
    with caplog.at_level(logging.INFO, logger="laplas_async.calls"):
        Logs().call_ended(call)
    assert caplog.records[0].getMessage().endswith(f"label_a={value!r}")
