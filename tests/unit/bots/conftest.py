"""An event loop whose time passes only when nothing else can be done."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

import pytest

T = TypeVar("T")


class Run(Protocol):
    """Run a coroutine; timers expire at once, in order, and ``loop.time()`` says when."""

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T: ...


class _Selector(selectors.DefaultSelector):
    loop: "_Loop"

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("nothing is left that could wake the program")
            self.loop.now += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.now = 1000.0
        super().__init__(selector)

    def time(self) -> float:
        return self.now


@pytest.fixture
def run() -> Run:
    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            return runner.run(coroutine)

    return run
