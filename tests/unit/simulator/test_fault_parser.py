"""Faults as written on a command line."""

import pytest

from laplas_async.simulator import Fault, parse_faults
from laplas_async.simulator.fault_parser import KNOWN


def test_a_list_of_faults_is_parsed() -> None:
    assert parse_faults("429, 429:2,cut:5,ok,,slow-headers:0.5,503*2,heartbeats:1:0.1") == [
        Fault.status(429),
        Fault.status(429, retry_after=2.0),
        Fault.cut(after=5),
        None,
        Fault.slow_headers(0.5),
        Fault.status(503),
        Fault.status(503),
        Fault.heartbeats(after=1, interval=0.1),
    ]
    assert parse_faults("redirect:http://h:1/v1") == [Fault.redirect("http://h:1/v1")]
    assert parse_faults("") == []
    for name in KNOWN:
        assert parse_faults(name) != [None]


@pytest.mark.parametrize("text", ["cutt:5", "cut:x", "99", "ok*0", "bom:1", "cut:1:2", "429:soon"])
def test_invalid_entries_are_reported(text: str) -> None:
    with pytest.raises(ValueError, match=text.partition(":")[0].partition("*")[0]):
        parse_faults(text)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"ok, STATUS.*cut:CHUNKS.*multiline"):
        parse_faults("nonsense")


def test_faults_with_two_values() -> None:
    assert parse_faults("finish:abort:3,finish,finish:error") == [
        Fault.finish("abort", after=3),
        Fault.finish("abort"),
        Fault.finish("error"),
    ]
    assert parse_faults("choice-error:429:2") == [Fault.choice_error(code=429, after=2)]
    assert parse_faults("error_response:422:list") == [Fault.error_response(422, "list")]
    assert parse_faults("pause:0.5:3,pause") == [Fault.pause(0.5, after=3), Fault.pause(1)]
    assert parse_faults("early_stop") == [Fault.shape("early_stop")]
    for text in ("finish:a:b", "finish:a:1:2", "error_response:400:yaml", "reasoning:2"):
        with pytest.raises(ValueError, match=text.partition(":")[0]):
            parse_faults(text)
