"""What all tests share: no proxy, no key and no base URL from the machine's environment."""

import pytest

_ENVIRONMENT = (
    "LAPLAS_API_KEY",
    "LAPLAS_BASE_URL",
    *(
        name
        for base in ("http", "https", "all", "no")
        for name in (f"{base}_proxy", f"{base}_PROXY")
    ),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
