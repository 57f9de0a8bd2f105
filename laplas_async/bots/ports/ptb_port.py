"""``TelegramPort``: a Telegram chat through python-telegram-bot 22.

It refuses to start an application or to poll.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from laplas_async.bots.port import PortError, SlowDown
from laplas_async.bots.ports.framework import framework, network_failure
from laplas_async.bots.ports.telegram_port import TelegramChat, refusal

_telegram = framework("telegram", "python-telegram-bot>=22")
_errors = framework("telegram.error", "python-telegram-bot>=22")


class TelegramPort(TelegramChat):
    """A chat on Telegram through ``bot``, which is initialized; see ``TelegramChat``.

    ``link_preview``: whether links in the text get a preview; None is the bot's default.
    """

    def __init__(
        self, bot: Any, chat_id: int | str, *, link_preview: bool | None = None, **options: Any
    ) -> None:
        super().__init__(int(bot.token.partition(":")[0]), chat_id, **options)
        self.bot = bot
        self._link_preview = link_preview

    async def _call(self, kind: str, parameters: Mapping[str, Any], *, formatted: bool) -> Any:
        try:
            return await self._request(kind, dict(parameters))
        except _errors.RetryAfter as error:
            after = error.retry_after
            seconds = after.total_seconds() if isinstance(after, timedelta) else float(after)
            raise SlowDown(seconds, message=error.message) from error
        except _errors.ChatMigrated as error:
            raise self.moved(error.new_chat_id) from error
        except _errors.Forbidden as error:
            raise refusal(error.message, formatted=formatted, forbidden=True) from error
        except _errors.BadRequest as error:
            raise refusal(error.message, formatted=formatted) from error
        except _errors.NetworkError as error:  # a timeout, a lost connection, or a status of 5xx
            raise network_failure("Telegram", error) from error
        except _errors.TelegramError as error:
            raise PortError(error.message) from error

    async def _request(self, kind: str, parameters: dict[str, Any]) -> Any:
        bot, chat, thread = self.bot, self.chat_id, self.thread_id
        if kind == "typing":
            return await bot.send_chat_action(chat, "typing", message_thread_id=thread)
        if parameters["entities"] is not None:
            parameters["entities"] = [
                _telegram.MessageEntity(**entity) for entity in parameters["entities"]
            ]
        if kind == "draft":
            return await bot.send_message_draft(chat, message_thread_id=thread, **parameters)
        if self._link_preview is not None:
            options = _telegram.LinkPreviewOptions(is_disabled=not self._link_preview)
            parameters["link_preview_options"] = options
        if kind == "edit":
            return await bot.edit_message_text(chat_id=chat, **parameters)
        reply_to = parameters.pop("reply_to")
        if reply_to is not None:
            parameters["reply_parameters"] = _telegram.ReplyParameters(
                message_id=reply_to, allow_sending_without_reply=True
            )
        sent = await bot.send_message(chat, message_thread_id=thread, **parameters)
        return sent.message_id
