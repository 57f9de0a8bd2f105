"""What is left of an HTTP exchange, as programs for openai read it: ``Response``, ``Request``.

Only values: the connection has been released or belongs to a stream. What would need it raises one
line that says what to read instead.
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import orjson


class Headers(Mapping[str, str]):
    """Headers by name, in any case. Iterating gives lower-case names, as httpx does."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._values = {name.lower(): str(value) for name, value in headers.items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({self._values!r})"


class URL(str):
    """A URL with the parts that httpx's ``URL`` has; equal to its text, as that is."""

    __slots__ = ()

    def _split(self) -> SplitResult:
        return urlsplit(str(self))

    @property
    def scheme(self) -> str:
        """Such as "https"."""
        return self._split().scheme

    @property
    def host(self) -> str:
        """The host's name, without a port."""
        return self._split().hostname or ""

    @property
    def port(self) -> int | None:
        """The port; None: the scheme's default."""
        port = self._split().port
        return None if (self.scheme, port) in {("http", 80), ("https", 443)} else port

    @property
    def path(self) -> str:
        """The path, from the first slash."""
        return self._split().path or "/"

    @property
    def netloc(self) -> bytes:
        """Host and port, as bytes as they are there."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host if self.port is None else f"{host}:{self.port}").encode("ascii")

    def join(self, url: Any) -> "URL":
        """Another URL, relative to this one; unlike ``str.join``, as httpx's does."""
        return URL(urljoin(str(self), str(url)))

    def __repr__(self) -> str:
        return f"URL({str(self)!r})"


class Request:
    """The request that an error or a response belongs to: ``method``, ``url``."""

    def __init__(self, method: str, url: str) -> None:
        self.method = method
        self.url = URL(url)

    def __repr__(self) -> str:
        return f"<Request({self.method!r}, {str(self.url)!r})>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"request.{name}: not kept; method and url are")


class Response:
    """The status, headers and body of a response; its connection is free again.

    ``body`` is the decoded JSON, or text; None where the body became a result or a stream.
    ``retries_taken``: how many attempts failed before it.
    """

    def __init__(
        self,
        status_code: int,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        request: Any = None,
        retries_taken: int = 0,
    ) -> None:
        self.status_code = status_code
        self.headers = Headers(headers or {})
        self.request = request
        self.retries_taken = retries_taken
        self._body = body

    def __repr__(self) -> str:
        return f"<Response [{self.status_code} {self.reason_phrase}]>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copying and pickling look for these
            raise AttributeError(name)
        raise AttributeError(
            f"response.{name}: the body has been read; status_code, headers, text and json() are "
            "kept"
        )

    @property
    def url(self) -> URL:
        """The URL of the request."""
        return URL("") if self.request is None else URL(self.request.url)

    @property
    def reason_phrase(self) -> str:
        """The standard phrase of the status, "" for a status that has none."""
        try:
            return HTTPStatus(self.status_code).phrase
        except ValueError:
            return ""

    @property
    def is_success(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status_code <= 299

    @property
    def is_client_error(self) -> bool:
        """Whether it is a 4xx."""
        return 400 <= self.status_code <= 499

    @property
    def is_server_error(self) -> bool:
        """Whether it is a 5xx."""
        return 500 <= self.status_code <= 599

    @property
    def is_error(self) -> bool:
        """Whether it is a 4xx or 5xx."""
        return self.is_client_error or self.is_server_error

    @property
    def text(self) -> str:
        """The body as text."""
        if isinstance(self._body, str):
            return self._body
        return "" if self._body is None else orjson.dumps(self._body).decode()

    @property
    def content(self) -> bytes:
        """The body as bytes."""
        return self.text.encode()

    def json(self) -> Any:
        """The body as JSON values. Raises ``ValueError`` where it was no JSON."""
        return orjson.loads(self.text)

    def read(self) -> bytes:
        """The body, which has been read."""
        return self.content

    async def aread(self) -> bytes:
        """The body, which has been read."""
        return self.content
