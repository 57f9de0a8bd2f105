"""``client.models``: the service's models in openai's shape."""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from typing import Any, ClassVar

from laplas_async.openai.errors import NotFoundError, openai_errors
from laplas_async.openai.response import Response
from laplas_async.openai.result_model import Model as Result
from laplas_async.openai.results import ModelInfo
from laplas_async.openai.unsupported import missing_attribute
from laplas_async.types import Model


class ModelPage(Result):
    """One page, with all models: iterate it with ``async for``, or read ``data``."""

    data: list[ModelInfo]
    object: str
    _nested: ClassVar[Mapping[str, type[Result]]] = {"data": ModelInfo}

    async def __aiter__(self) -> AsyncIterator[ModelInfo]:
        """Each model."""
        for model in self.data:
            yield model

    def has_next_page(self) -> bool:
        """False: there is one page."""
        return False


class ModelPages:
    """What ``list()`` gives: await it for the page, or iterate it with ``async for``."""

    def __init__(self, fetch: Callable[[], Awaitable[ModelPage]]) -> None:
        self._fetch = fetch

    def __await__(self) -> Generator[Any, None, ModelPage]:
        """The page."""
        return self._fetch().__await__()

    async def __aiter__(self) -> AsyncIterator[ModelInfo]:
        """Each model."""
        for model in (await self._fetch()).data:
            yield model


class AsyncModels:
    """``client.models``."""

    def __getattr__(self, name: str) -> Any:
        raise missing_attribute("AsyncModels", name)

    def __init__(self, fetch: Callable[[], Awaitable[list[Model]]]) -> None:
        self._fetch_models = fetch

    def list(self, **_options: Any) -> ModelPages:
        """All models. Raises ``OpenAIError``'s subclasses when awaited or iterated."""
        return ModelPages(self._page)

    async def retrieve(self, model: str, **_options: Any) -> ModelInfo:
        """One model. Raises ``NotFoundError`` if the service lists none of that id."""
        for found in (await self._page()).data:
            if found.id == model:
                return found
        body = {"message": f"The model {model!r} does not exist", "code": "model_not_found"}
        response = Response(404, body={"error": body})
        raise NotFoundError(f"Error code: 404 - {body}", response=response, body=body)

    async def _page(self) -> ModelPage:
        with openai_errors():
            models = await self._fetch_models()
        return ModelPage(data=[_info(model) for model in models], object="list")


def _info(model: Model) -> ModelInfo:
    known = {
        "id": model.id,
        "created": model.created or 0,
        "object": "model",
        "owned_by": model.developer or "",
        "type": model.type,
        "features": list(model.features),
        "endpoints": list(model.endpoints),
    }
    return ModelInfo(**model.extra | known)
