import asyncio
import io
from collections.abc import AsyncIterator

from laplas_async.bots.live_text import LiveText
from laplas_async.bots.ports.terminal import TerminalPort


async def stream(*pieces: str) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(0.06)


async def test_the_text_is_written_as_it_grows() -> None:
    output = io.StringIO()
    await LiveText(TerminalPort(output)).show(
        stream("One ", "river.\n", "```py\n", "x = 1\n", "```")
    )
    assert output.getvalue() == "One river.\n```py\nx = 1\n```\n"


async def test_a_remark_is_added_to_what_was_written() -> None:
    output = io.StringIO()
    port = TerminalPort(output)
    message = await port.send("One", formatted=False)
    await port.edit(message, "One (cut off)", formatted=True)
    assert output.getvalue() == "One (cut off)\n"


async def test_a_text_that_changes_is_written_once_more() -> None:
    output = io.StringIO()
    port = TerminalPort(output)
    message = await port.send("…", formatted=False)
    await port.edit(message, "One", formatted=True)
    await port.send("Two", formatted=False)
    await port.send("Three", formatted=True)
    assert output.getvalue() == "…\nOne\nTwo\nThree\n"


async def test_escape_sequences_are_not_written() -> None:
    output = io.StringIO()
    await TerminalPort(output).send("\x1b[2Ja\x07b\tc", formatted=True)
    assert output.getvalue() == "[2Jab\tc\n"
