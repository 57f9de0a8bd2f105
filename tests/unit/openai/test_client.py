"""What openai's client has: each works here, or one line says what to write instead."""

from types import SimpleNamespace
from typing import Any

import pytest

from laplas_async import openai
from laplas_async.errors import ConfigError, LaplasError

KEY = "test-key-that-never-shows"


def client(**options: Any) -> Any:
    return openai.AsyncOpenAI(**{"api_key": KEY} | options)


def test_settings_are_read_and_assigned() -> None:
    made = client(base_url="https://example.org/v1/", max_retries=4, timeout=20)
    assert str(made.base_url) == "https://example.org/v1/"
    assert made.base_url.host == "example.org"
    assert (made.api_key, made.max_retries, made.timeout) == (KEY, 4, 20)
    assert made.base_url == "https://example.org/v1/"
    assert (made.organization, made.project) == (None, None)
    made.api_key = "another-key"
    made.base_url = "https://example.com/v1"
    assert (made.api_key, str(made.base_url)) == ("another-key", "https://example.com/v1/")
    assert KEY not in repr(made)


def test_copies_share_connections_and_change_settings() -> None:
    made = client(max_retries=4, default_headers={"A": "1"})
    copied = made.with_options(max_retries=0, timeout=3, default_headers={"B": "2"})
    assert (copied.max_retries, copied.timeout) == (0, 3)
    assert copied.default_headers == {"A": "1", "B": "2"}
    assert (made.max_retries, made.default_headers) == (4, {"A": "1"})
    assert copied._core() is made._core()
    assert made.copy(api_key="another-key")._core() is not made._core()
    assert made.copy(set_default_headers={}).default_headers == {}


def test_a_copy_with_a_setting_that_nobody_has_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'retries'"):
        client().copy(retries=3)
    assert client().copy(http_client=None, organization=None).max_retries == client().max_retries


async def test_closing_one_closes_the_copies() -> None:
    made = client()
    copied = made.copy()
    await made.close()
    assert made.is_closed()
    assert copied.is_closed()
    messages = [{"role": "user", "content": "Hi"}]
    with pytest.raises(openai.ClientClosedError, match="make another AsyncOpenAI") as caught:
        await copied.chat.completions.create(messages=messages)
    assert isinstance(caught.value, RuntimeError)
    with pytest.raises(openai.ClientClosedError):
        await copied.models.list()


async def test_a_key_may_be_assigned_before_the_first_call() -> None:
    made = client(api_key="")
    with pytest.raises(openai.SettingsError, match=r"client\.api_key = key"):
        await made.chat.completions.create(messages=[{"role": "user", "content": "Hi"}])
    made.base_url = "https://example.com/v1"
    made.api_key = KEY
    assert made._core() is made._core()
    await made.close()


def test_openais_key_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-company")
    with pytest.raises(openai.OpenAIError, match=r"LAPLAS_API_KEY.*OPENAI_API_KEY is not read"):
        openai.AsyncOpenAI()


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"http_client": object()}, "HTTPS_PROXY.*ca_file=.*timeout=.*session="),
        ({"organization": "o"}, "leave it out"),
        ({"project": "p"}, "leave it out"),
        ({"webhook_secret": "w"}, "leave it out"),
        ({"_strict_response_validation": True}, "leave it out"),
        ({"max_retries": -1}, "at least 0"),
        ({"max_retries": 1.5}, "at least 0"),
        ({"base_url": "nonsense"}, "https://"),
    ],
)
def test_what_a_constructor_cannot_honour_says_what_to_write(
    options: dict[str, Any], advice: str
) -> None:
    with pytest.raises(openai.OpenAIError, match=advice) as caught:
        client(**options)
    assert isinstance(caught.value, ConfigError)
    assert "\n" not in str(caught.value)
    if "base_url" not in options and "max_retries" not in options:
        with pytest.raises(openai.OpenAIError, match=advice):
            client().with_options(**options)


@pytest.mark.parametrize(
    "name",
    [
        *("responses", "embeddings", "images", "audio", "moderations", "files", "batches"),
        *("fine_tuning", "completions", "uploads", "vector_stores", "realtime", "post", "get"),
        *("admin", "conversations", "videos", "with_raw_response", "with_streaming_response"),
    ],
)
def test_what_a_client_does_not_have_says_what_to_write(name: str) -> None:
    with pytest.raises(openai.UnsupportedError, match=name) as caught:
        getattr(client(), name)
    assert isinstance(caught.value, LaplasError)
    assert "\n" not in str(caught.value)
    assert not hasattr(client(), name)


def test_an_attribute_that_nobody_has_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="'AsyncOpenAI' object has no attribute 'chta'"):
        client().chta  # noqa: B018


@pytest.mark.parametrize(
    "make",
    [
        lambda: openai.OpenAI(api_key=KEY),
        openai.Client,
        lambda: openai.AsyncAzureOpenAI(azure_endpoint="x"),
        openai.AzureOpenAI,
        lambda: openai.DefaultAsyncHttpxClient(proxy="x"),
        lambda: client().beta.threads,
        lambda: client().chat.completions.with_streaming_response,
        lambda: client().chat.completions.list,
        lambda: client().chat.with_raw_response,
        lambda: client().models.with_raw_response,
        openai.DefaultAsyncHttpx2Client,
        lambda: openai.chat,
    ],
)
def test_other_parts_of_the_package_say_what_to_write(make: Any) -> None:
    with pytest.raises(openai.UnsupportedError, match=r"use|leave|construct|keep|AsyncOpenAI"):
        make()


def test_timeouts_are_read_by_attribute() -> None:
    timeout = openai.Timeout(10, connect=2)
    assert (timeout.connect, timeout.read, timeout.pool) == (2, 10, 10)
    with pytest.raises(ValueError, match="all of"):
        openai.Timeout(connect=2)
    made = client(timeout=SimpleNamespace(connect=1.0, read=None, write=None, pool=None))
    arguments: dict[str, Any] = {"extra_headers": {}, "extra_query": None}
    settings = made._settings(arguments, openai.NOT_GIVEN, stream=True)
    assert (settings["timeouts"].connect, settings["timeouts"].idle) == (1.0, None)
    settings = made._settings(arguments, 7, stream=True)["timeouts"]
    assert (settings.connect, settings.first_token, settings.idle, settings.total) == (
        *(7, 7, 7),
        None,
    )
    assert made._settings(arguments, 7, stream=False)["timeouts"].total == 7
