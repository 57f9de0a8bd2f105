"""A client that is used after a fork refuses before any I/O, and the parent is unharmed."""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork on this platform")

# In processes of their own: pytest's has threads, which a fork would copy half of.
PROGRAM = """
import asyncio, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # a fork with threads, from Python 3.12 on
from laplas_async import ConfigError, LaplasClient
from laplas_async.simulator import Fault, Simulator


def in_child(work):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def refused(call):
    try:
        await call()
    except ConfigError as error:
        return 0 if "forked" in str(error) else 2
    return 3


async def stream(client):
    async with client.stream("Hello") as answer:
        await answer.completion()


async def map_one(client):
    async with client.map([{"messages": "Hello"}]) as outcomes:
        async for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error


async def close(client):
    await client.aclose()
    raise ConfigError("forked children only forget")


async def main():
    async with Simulator() as simulator, LaplasClient("k", simulator.base_url) as client:
        unused = LaplasClient("k", simulator.base_url)
        await client.complete("Hello")
        WORK
        for _ in range(3):  # the parent's connections and its event loop still work
            completion = await asyncio.wait_for(client.complete("Hello"), 10)
            assert completion.text
        await asyncio.wait_for(stream(client), 10)
        await unused.aclose()
    print("well")


asyncio.run(main())
"""


def run(work: str) -> str:
    program = PROGRAM.replace("WORK", textwrap.indent(textwrap.dedent(work), " " * 8).strip())
    command = [sys.executable, "-X", "dev", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    "call",
    ["client.complete('Hello')", "stream(client)", "map_one(client)", "close(client)"],
)
def test_a_client_that_was_used_before_the_fork_refuses_in_the_child(call: str) -> None:
    work = f"""
    code = in_child(lambda: asyncio.run(refused(lambda: {call})))
    assert code == 0, code
    """
    assert run(work) == "well\n"


def test_a_stream_open_at_the_fork_refuses_in_the_child_and_goes_on_in_the_parent() -> None:
    work = """
    async def read(answer):
        async for chunk in answer:
            pass
    simulator.script(Fault.pause(0.1, after=2))  # the rest is sent after the child has ended
    async with client.stream("Hello") as answer:
        first = await anext(answer)
        async def call():
            try:
                await read(answer)
            finally:
                await answer.aclose()
        code = in_child(lambda: asyncio.run(refused(call)))
        assert code == 0, code
        assert (await asyncio.wait_for(answer.completion(), 10)).text.startswith(first.text)
    """
    assert run(work) == "well\n"


def test_a_client_that_was_not_used_before_the_fork_works_in_the_child() -> None:
    """The parent must answer meanwhile, so it waits in a thread."""
    work = """
    def call():
        async def ask():
            completion = await unused.complete("Hello")
            await unused.aclose()
            return 0 if completion.text else 4
        return asyncio.run(ask())
    code = await asyncio.to_thread(in_child, call)
    assert code == 0, code
    """
    assert run(work) == "well\n"
