"""For bots and web services: conversations with a history, and answers shown where people read.

``Conversations`` keeps a bounded history for each chat and answers one message of it at a time.
``LiveText`` shows a streamed answer in a chat through a ``Port``: for Telegram, Discord and Slack,
for a terminal, and for tests. ``relay`` and ``relay_websocket`` send a streamed answer on to a
browser. Names are imported on first use (law 9), and a framework only when it is used. The package
refuses to import any framework that a program does not use.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laplas_async.bots.answer_stream import AnswerStream as AnswerStream
    from laplas_async.bots.conversations import Conversation as Conversation
    from laplas_async.bots.conversations import Conversations as Conversations
    from laplas_async.bots.history import Turn as Turn
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
    from laplas_async.bots.ports.aiogram_port import AiogramPort as AiogramPort
    from laplas_async.bots.ports.discord_port import DiscordPort as DiscordPort
    from laplas_async.bots.ports.ptb_port import TelegramPort as TelegramPort
    from laplas_async.bots.ports.recording import PortCall as PortCall
    from laplas_async.bots.ports.recording import RecordingPort as RecordingPort
    from laplas_async.bots.ports.slack_port import SlackPort as SlackPort
    from laplas_async.bots.ports.terminal import TerminalPort as TerminalPort
    from laplas_async.bots.schedule import Allowance as Allowance
    from laplas_async.bots.schedule import ChatPace as ChatPace
    from laplas_async.bots.serving import relay as relay
    from laplas_async.bots.serving import relay_websocket as relay_websocket
    from laplas_async.bots.splitter import Part as Part
    from laplas_async.bots.splitter import Splitter as Splitter
    from laplas_async.bots.splitter import split as split
    from laplas_async.bots.sqlite_storage import SQLiteStorage as SQLiteStorage
    from laplas_async.bots.storage import MemoryStorage as MemoryStorage
    from laplas_async.bots.storage import Storage as Storage

_MODULES = {
    "AiogramPort": "ports.aiogram_port",
    "Allowance": "schedule",
    "AnswerStream": "answer_stream",
    "BadMarkup": "port",
    "BotPace": "pace",
    "ChatPace": "schedule",
    "Conversation": "conversations",
    "Conversations": "conversations",
    "DiscordPort": "ports.discord_port",
    "Gone": "port",
    "LiveText": "live_text",
    "MemoryStorage": "storage",
    "PacedChat": "port",
    "Part": "splitter",
    "Phrases": "live_text",
    "Port": "port",
    "PortCall": "ports.recording",
    "PortError": "port",
    "Previews": "port",
    "RecordingPort": "ports.recording",
    "SQLiteStorage": "sqlite_storage",
    "Shown": "live_text",
    "SlackPort": "ports.slack_port",
    "SlowDown": "port",
    "Splitter": "splitter",
    "Storage": "storage",
    "TelegramPort": "ports.ptb_port",
    "TerminalPort": "ports.terminal",
    "Turn": "history",
    "TypingPort": "port",
    "Uncertain": "port",
    "relay": "serving",
    "relay_websocket": "serving",
    "shared_pace": "pace",
    "split": "splitter",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
