"""Response headers as openai's users read them: a mapping that ignores case."""

from collections.abc import Iterator, Mapping


class Headers(Mapping[str, str]):
    """Headers by name, however it is spelled. Iterating gives lower-case names, as httpx does."""

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


class ResponseHead:
    """The status and the headers of a response whose body became a result."""

    def __init__(self, status_code: int, headers: Mapping[str, str]) -> None:
        self.status_code = status_code
        self.headers = Headers(headers)

    def __repr__(self) -> str:
        return f"<Response [{self.status_code}]>"
