"""``OTel`` without OpenTelemetry; with it, see tests/frameworks/test_otel.py."""

import sys

import pytest

from laplas_async.errors import ConfigError
from laplas_async.observe.otel import OTel


def test_without_the_extra_an_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(ConfigError, match=r"pip install 'laplas-async\[otel\]'"):
        OTel()
