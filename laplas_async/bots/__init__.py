"""For bots and web services: conversations with a history, and answers shown where people read.

``LiveText`` shows a streamed answer in a chat through a ``Port``: for Telegram, Discord and Slack,
for a terminal, and for tests. Names are imported on first use (law 9), and a framework only when
its port is used. The package refuses to import any framework that a program does not use.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laplas_async.bots.live_text import LiveText as LiveText
    from laplas_async.bots.live_text import Phrases as Phrases
    from laplas_async.bots.live_text import Shown as Shown
    from laplas_async.bots.pace import BotPace as BotPace
    from laplas_async.bots.pace import shared_pace as shared_pace
    from laplas_async.bots.port import BadMarkup as BadMarkup
    from laplas_async.bots.port import Gone as Gone
    from laplas_async.bots.port import PacedChat as PacedChat
    from laplas_async.bots.port import Port as Port
    from laplas_async.bots.port import PortError as PortError
    from laplas_async.bots.port import Previews as Previews
    from laplas_async.bots.port import SlowDown as SlowDown
    from laplas_async.bots.port import TypingPort as TypingPort
    from laplas_async.bots.port import Uncertain as Uncertain
    from laplas_async.bots.ports.recording import PortCall as PortCall
    from laplas_async.bots.ports.recording import RecordingPort as RecordingPort
    from laplas_async.bots.ports.terminal import TerminalPort as TerminalPort
    from laplas_async.bots.schedule import Allowance as Allowance
    from laplas_async.bots.schedule import ChatPace as ChatPace
    from laplas_async.bots.splitter import Part as Part
    from laplas_async.bots.splitter import Splitter as Splitter
    from laplas_async.bots.splitter import split as split

_MODULES = {
    "Allowance": "schedule",
    "BadMarkup": "port",
    "BotPace": "pace",
    "ChatPace": "schedule",
    "Gone": "port",
    "LiveText": "live_text",
    "PacedChat": "port",
    "Part": "splitter",
    "Phrases": "live_text",
    "Port": "port",
    "PortCall": "ports.recording",
    "PortError": "port",
    "Previews": "port",
    "RecordingPort": "ports.recording",
    "Shown": "live_text",
    "SlowDown": "port",
    "Splitter": "splitter",
    "TerminalPort": "ports.terminal",
    "TypingPort": "port",
    "Uncertain": "port",
    "shared_pace": "pace",
    "splitter": "split",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
