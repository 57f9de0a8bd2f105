"""``terminal_bot.py``: it remembers, and no failed answer ends the conversation."""

from laplas_async.simulator import Fault, Simulator

from .conftest import Start


def test_it_remembers_the_conversation(start: Start, service: Simulator) -> None:
    process = start("terminal_bot.py")
    output, errors = process.communicate("My name is Ada.\nWhat is my name?\n\n", timeout=60)
    assert (errors, process.returncode) == ("", 0)
    first, second = (seen.body["messages"] for seen in service.requests)
    assert [message["role"] for message in first] == ["system", "user"]
    assert [message["role"] for message in second] == ["system", "user", "assistant", "user"]
    assert second[2]["content"] in output


def test_a_failure_does_not_end_it(start: Start, service: Simulator) -> None:
    service.script(Fault.status(400), Fault.cut(after=2), None)
    process = start("terminal_bot.py")
    output, errors = process.communicate("one\ntwo\nthree\n", timeout=60)
    assert (errors, process.returncode) == ("", 0)
    assert "[BadRequestError: " in output
    last = service.requests[-1].body["messages"]
    # The refused question is forgotten, the broken answer is kept and marked.
    assert [message["content"] for message in last if message["role"] == "user"] == ["two", "three"]
    assert last[2]["content"].endswith("[interrupted]")


def test_without_a_key_it_says_what_to_set(start: Start) -> None:
    process = start("terminal_bot.py", key="")
    _, errors = process.communicate("", timeout=60)
    assert process.returncode == 1
    assert "LAPLAS_API_KEY" in errors
