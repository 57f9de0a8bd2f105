"""What the tests of bots share: a stream whose pieces come when the test says so."""

import asyncio
from collections.abc import AsyncIterator
from typing import Self

import pytest


class Script:
    """A stream: ``write`` adds a piece, ``end`` ends it, with an error or without."""

    def __init__(self, *pieces: str) -> None:
        self._pieces: asyncio.Queue[str | BaseException | None] = asyncio.Queue()
        self.closed = False
        self.write(*pieces)

    def write(self, *pieces: str) -> Self:
        for piece in pieces:
            self._pieces.put_nowait(piece)
        return self

    def end(self, error: BaseException | None = None) -> Self:
        self._pieces.put_nowait(error)
        return self

    @property
    def unread(self) -> int:
        return self._pieces.qsize()

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            while (piece := await self._pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            self.closed = True


@pytest.fixture
def script() -> type[Script]:
    return Script
