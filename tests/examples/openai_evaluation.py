"""An evaluation as people write it for openai's client: many cases, tools, retries, a report.

Only its import was changed.
"""

import asyncio
import json
import os
from dataclasses import dataclass, field
from typing import Any

from laplas_async.openai import (  # was: from openai import (
    APIConnectionError,
    APITimeoutError,
    AsyncOpenAI,
    InternalServerError,
    RateLimitError,
)
from laplas_async.openai.types.chat import (  # was: from openai.types.chat import (
    ChatCompletion,
    ChatCompletionMessageParam,
)

MODEL = "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "calculate",
            "description": "Add two numbers",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    }
]
GRADE: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "grade",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "passed": {"type": "boolean"},
                "reason": {"type": "string"},
            },
            "required": ["passed", "reason"],
            "additionalProperties": False,
        },
    },
}


@dataclass
class Case:
    id: str
    question: str
    needs_tool: bool = False


@dataclass
class Result:
    id: str
    answer: str | None = None
    passed: bool | None = None
    tool_calls: int = 0
    tokens: int = 0
    error: str | None = None


@dataclass
class Evaluation:
    client: AsyncOpenAI
    concurrency: int = 8
    results: list[Result] = field(default_factory=list)

    async def run(self, cases: list[Case]) -> dict[str, Any]:
        semaphore = asyncio.Semaphore(self.concurrency)

        async def run_one(case: Case) -> Result:
            async with semaphore:
                return await self.evaluate(case)

        self.results = await asyncio.gather(*(run_one(case) for case in cases))
        return {
            "cases": len(self.results),
            "answered": sum(result.answer is not None for result in self.results),
            "failed": sorted({result.error for result in self.results if result.error}),
            "tool_calls": sum(result.tool_calls for result in self.results),
            "tokens": sum(result.tokens for result in self.results),
        }

    async def evaluate(self, case: Case) -> Result:
        result = Result(case.id)
        messages: list[ChatCompletionMessageParam] = [
            {"role": "system", "content": "Use the tool for sums."},
            {"role": "user", "content": case.question},
        ]
        try:
            for turn in range(4):
                must_call = case.needs_tool and turn == 0
                response = await self.ask(
                    messages=messages,
                    tools=TOOLS,
                    tool_choice="required" if must_call else "none",
                )
                message = response.choices[0].message
                result.tokens += response.usage.total_tokens if response.usage else 0
                if not message.tool_calls:
                    result.answer = message.content
                    break
                messages.append(message.model_dump(exclude_none=True))
                for call in message.tool_calls:
                    result.tool_calls += 1
                    arguments = json.loads(call.function.arguments)
                    total = arguments["a"] + arguments["b"]
                    messages.append(
                        {"role": "tool", "tool_call_id": call.id, "content": str(total)}
                    )
            result.passed = await self.grade(case, result)
        except Exception as error:  # noqa: BLE001 - a case that fails is a result too
            result.error = type(error).__name__
        return result

    async def grade(self, case: Case, result: Result) -> bool:
        response = await self.ask(
            messages=[
                {"role": "user", "content": f"{case.question}\n{result.answer}\nIs it right?"}
            ],
            response_format=GRADE,
            temperature=0,
        )
        result.tokens += response.usage.total_tokens if response.usage else 0
        return bool(json.loads(response.choices[0].message.content or "{}")["passed"])

    async def ask(self, **arguments: Any) -> ChatCompletion:
        for attempt in range(5):
            try:
                response: ChatCompletion = await self.client.chat.completions.create(
                    model=MODEL, **arguments
                )
            except RateLimitError as error:
                await asyncio.sleep(float(error.response.headers.get("retry-after") or 0.01))
            except (APITimeoutError, APIConnectionError, InternalServerError):
                if attempt == 4:
                    raise
            else:
                return response
        raise RuntimeError("too many rejections")


def make_client() -> AsyncOpenAI:
    return AsyncOpenAI(
        api_key=os.environ["BOT_KEY"], base_url=os.environ["BOT_URL"], max_retries=1, timeout=30
    )
