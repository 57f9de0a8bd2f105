"""A FastAPI service as people write it for openai's client: whole answers and relayed streams.

Only its import was changed.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse

import laplas_async.openai as openai  # noqa: PLR0402 - was: import openai

MODEL = "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.client = openai.AsyncOpenAI(
        api_key=os.environ["BOT_KEY"], base_url=os.environ["BOT_URL"], max_retries=0
    )
    yield
    await app.state.client.close()


app = FastAPI(lifespan=lifespan)


@app.exception_handler(openai.APIStatusError)
async def status_error(request: Request, error: openai.APIStatusError) -> JSONResponse:
    headers = {
        name: error.response.headers[name]
        for name in ("retry-after",)
        if name in error.response.headers
    }
    return JSONResponse(
        {"error": {"type": type(error).__name__, "status": error.status_code}},
        status_code=error.status_code,
        headers=headers,
    )


@app.exception_handler(openai.APIConnectionError)
async def connection_error(request: Request, error: openai.APIConnectionError) -> JSONResponse:
    return JSONResponse({"error": {"type": type(error).__name__}}, status_code=502)


@app.get("/models")
async def models() -> list[str]:
    page = await app.state.client.models.list()
    return [model.id for model in page.data]


@app.post("/chat")
async def chat(request: Request) -> dict[str, Any]:
    body = await request.json()
    if not body.get("messages"):
        raise HTTPException(422, "messages: required")
    completion = await app.state.client.chat.completions.create(
        model=body.get("model", MODEL), messages=body["messages"], max_tokens=100
    )
    result: dict[str, Any] = completion.model_dump(mode="json", exclude={"id", "created"})
    return result


@app.post("/chat/stream")
async def chat_stream(request: Request) -> StreamingResponse:
    body = await request.json()
    stream = await app.state.client.chat.completions.create(
        model=body.get("model", MODEL), messages=body["messages"], stream=True, max_tokens=100
    )

    async def events() -> AsyncIterator[str]:
        try:
            async for chunk in stream:
                for choice in chunk.choices:
                    if choice.delta.content:
                        yield f"data: {json.dumps({'text': choice.delta.content})}\n\n"
                    if choice.finish_reason:
                        yield f"data: {json.dumps({'finish': choice.finish_reason})}\n\n"
        except openai.APIError as error:
            yield f"data: {json.dumps({'error': type(error).__name__})}\n\n"
        finally:
            await stream.close()
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
