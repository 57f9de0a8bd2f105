"""``AiogramPort``: a Telegram chat through aiogram 3. It refuses to start a bot or to poll."""

from collections.abc import Mapping
from typing import Any

from laplas_async.bots.port import PortError, SlowDown, Uncertain
from laplas_async.bots.ports.framework import framework, network_failure
from laplas_async.bots.ports.telegram_port import TelegramChat, refusal

_types = framework("aiogram.types", "laplas-async[telegram]")
_errors = framework("aiogram.exceptions", "laplas-async[telegram]")


class AiogramPort(TelegramChat):
    """A chat on Telegram through aiogram's ``bot``; see ``TelegramChat`` for the options.

    ``link_preview``: whether links in the text get a preview; None is the bot's default.
    """

    def __init__(
        self, bot: Any, chat_id: int | str, *, link_preview: bool | None = None, **options: Any
    ) -> None:
        super().__init__(bot.id, chat_id, **options)
        self.bot = bot
        self._link_preview = link_preview

    async def _call(self, kind: str, parameters: Mapping[str, Any], *, formatted: bool) -> Any:
        try:
            return await self._request(kind, dict(parameters))
        except _errors.TelegramRetryAfter as error:
            raise SlowDown(float(error.retry_after), message=error.message) from error
        except _errors.TelegramMigrateToChat as error:
            raise self.moved(error.migrate_to_chat_id) from error
        except _errors.TelegramForbiddenError as error:
            raise refusal(error.message, formatted=formatted, forbidden=True) from error
        except _errors.TelegramNetworkError as error:
            raise network_failure("Telegram", error) from error
        except (_errors.TelegramServerError, _errors.ClientDecodeError) as error:
            raise Uncertain(f"Telegram failed: {error}") from error
        except _errors.TelegramAPIError as error:
            raise refusal(error.message, formatted=formatted) from error
        except _errors.AiogramError as error:
            raise PortError(str(error)) from error

    async def _request(self, kind: str, parameters: dict[str, Any]) -> Any:
        bot, chat, thread = self.bot, self.chat_id, self.thread_id
        if kind == "typing":
            return await bot.send_chat_action(chat, "typing", message_thread_id=thread)
        if parameters["entities"] is not None:
            parameters["entities"] = [
                _types.MessageEntity(**entity) for entity in parameters["entities"]
            ]
        if kind == "draft":
            return await bot.send_message_draft(chat, message_thread_id=thread, **parameters)
        if self._link_preview is not None:
            options = _types.LinkPreviewOptions(is_disabled=not self._link_preview)
            parameters["link_preview_options"] = options
        if kind == "edit":
            return await bot.edit_message_text(chat_id=chat, **parameters)
        reply_to = parameters.pop("reply_to")
        if reply_to is not None:
            parameters["reply_parameters"] = _types.ReplyParameters(
                message_id=reply_to, allow_sending_without_reply=True
            )
        sent = await bot.send_message(chat, message_thread_id=thread, **parameters)
        return sent.message_id
