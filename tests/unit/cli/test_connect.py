"""The client of a command: the key from the environment only, the rest from options."""

import argparse

import pytest

from laplas_async import DEFAULT_MODEL, ConfigError
from laplas_async.cli.connect import check_key, make_client

KEY = "key-that-never-shows"


def arguments(**changes: str | None) -> argparse.Namespace:
    return argparse.Namespace(**({"base_url": None, "model": None} | changes))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPLAS_API_KEY", KEY)
    monkeypatch.delenv("LAPLAS_BASE_URL", raising=False)


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_key_it_says_what_to_do(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAPLAS_API_KEY")
    if value is not None:
        monkeypatch.setenv("LAPLAS_API_KEY", value)
    with pytest.raises(ConfigError, match="export LAPLAS_API_KEY"):
        check_key()


def test_options_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPLAS_BASE_URL", "https://one.example/v1")
    assert "one.example" in repr(make_client(arguments()))
    assert "two.example" in repr(make_client(arguments(base_url="https://two.example/v1")))
    assert make_client(arguments()).model == DEFAULT_MODEL
    assert make_client(arguments(model="another")).model == "another"


def test_a_key_over_plain_http_is_one_warning_line(capsys: pytest.CaptureFixture[str]) -> None:
    make_client(arguments(base_url="http://service.example/v1"))
    err = capsys.readouterr().err
    assert err.startswith("laplas: warning: ")
    assert err.count("\n") == 1
    assert KEY not in err


@pytest.mark.parametrize("url", ["nowhere", "ftp://x/v1", ""])
def test_an_invalid_base_url_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        make_client(arguments(base_url=url))
