"""Programs written for openai's client run with our import in its place.

``tests/frameworks/test_openai_programs.py`` runs them with openai's own package too.
"""

from .openai_programs import bot, evaluation


async def test_a_messenger_bot_runs_unchanged() -> None:
    one, two, sent, title = await bot("laplas_async.openai")
    river, lake, stats, models = one
    assert river[0] == lake[0] == "..."
    assert len(river) > 3
    assert river[-2].removesuffix(" ▌") == river[-1][: len(river[-2]) - 2]
    assert stats[0].startswith("4 messages, ")
    assert int(stats[0].split()[2]) > 0
    assert models[0].count("\n") == 2
    assert [message[-1] for message in two[1:8]] == [
        "Too many questions: try again in 0 s.",
        "Refused: Body validation error!",
        "The bot is misconfigured.",
        "The service answered 503.",
        "The connection broke.",
        "The connection broke.",
        "The model did not answer in time.",
    ]
    assert [message[-1] for message in two[9:]] == ["Forgotten.", f"0 messages, {_tokens(two)}"]
    assert sent == ["system", "user", "assistant", "user"]
    assert title == "messenger bot"


def _tokens(messages: list[list[str]]) -> str:
    return messages[-1][0].removeprefix("0 messages, ")


async def test_a_fan_out_evaluation_with_tools_runs_unchanged() -> None:
    cases, answered, failed, tool_calls, refused = await evaluation("laplas_async.openai")
    assert (cases, answered, failed) == (30, 30, [])
    assert tool_calls >= 10
    assert (refused["answered"], refused["failed"]) == (0, ["AuthenticationError"])
