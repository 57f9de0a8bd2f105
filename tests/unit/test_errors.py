"""The error tree: what catches what, and that errors are plain data."""

import copy
import inspect
import pickle
from typing import Any

import pytest

from laplas_async import errors
from laplas_async.errors import (
    AnswerReplacedError,
    APIError,
    AuthenticationError,
    BadRequestError,
    BudgetError,
    ChatBusyError,
    ConfigError,
    ConnectionFailedError,
    ContentFilterError,
    ConversationError,
    DuplicateMessageError,
    InvalidJSONError,
    JournalError,
    LaplasError,
    NotFoundError,
    OutOfCreditsError,
    OutputError,
    OutputValidationError,
    PermissionDeniedError,
    Problem,
    QuotaExceededError,
    RateLimitError,
    RefusalError,
    RequestTimeoutError,
    RunLimitError,
    ServerError,
    StreamAPIError,
    StreamError,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
    TransportError,
    TruncatedOutputError,
)
from laplas_async.types import Attempt, ChatCompletion, Choice, Cost, Message, Usage

TREE: dict[type[LaplasError], tuple[type[BaseException], ...]] = {
    LaplasError: (Exception,),
    ConfigError: (LaplasError, ValueError),
    APIError: (LaplasError,),
    BadRequestError: (APIError,),
    AuthenticationError: (APIError,),
    PermissionDeniedError: (APIError,),
    OutOfCreditsError: (PermissionDeniedError,),
    NotFoundError: (APIError,),
    RateLimitError: (APIError,),
    QuotaExceededError: (RateLimitError,),
    ServerError: (APIError,),
    TransportError: (LaplasError,),
    ConnectionFailedError: (TransportError,),
    RequestTimeoutError: (TransportError, TimeoutError),
    StreamError: (LaplasError,),
    StreamTruncatedError: (StreamError,),
    AnswerReplacedError: (StreamTruncatedError,),
    StreamTimeoutError: (StreamError, TimeoutError),
    StreamAPIError: (StreamError,),
    StreamProtocolError: (StreamError,),
    OutputError: (LaplasError,),
    RefusalError: (OutputError,),
    ContentFilterError: (RefusalError,),
    TruncatedOutputError: (OutputError,),
    InvalidJSONError: (OutputError,),
    OutputValidationError: (OutputError,),
    RunLimitError: (LaplasError,),
    BudgetError: (LaplasError,),
    JournalError: (LaplasError,),
    ConversationError: (LaplasError,),
    ChatBusyError: (ConversationError,),
    DuplicateMessageError: (ConversationError,),
}

ATTEMPTS = (Attempt(1.0, 0.5, 429, "r-0", "RateLimitError: 429", may_be_billed=False), Attempt(2.0))
COMMON = {"request_id": "r-1", "attempts": ATTEMPTS}
DETAILS = {"status": 429, "code": "c", "retry_after": 1.5, "body": {"message": ["m"]}}
PARTIAL = {"partial": ChatCompletion("i", [Choice(message=Message(content="é"))], request_id="r")}


def data_of(kind: type[LaplasError]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if issubclass(kind, APIError | TransportError | StreamError):
        data |= COMMON
    if issubclass(kind, APIError | StreamAPIError):
        data |= DETAILS
    if issubclass(kind, StreamError):
        data |= PARTIAL
    if kind is ConnectionFailedError:
        data |= {"sent": False, "permanent": True}
    if issubclass(kind, OutputError):
        data |= {"text": "{", "errors": (Problem("a[0]", "is missing"),), "usage": Usage(1, 2, 3)}
        data |= {"completion": PARTIAL["partial"], "attempts": ATTEMPTS}
    if kind is TruncatedOutputError:
        data |= {"partial": {"a": [1]}}
    if kind is RunLimitError:
        data |= {"limit": "rounds", "messages": (Message("user", "x"),), "usage": Usage(1, 2, 3)}
        data |= {"cost": Cost(1.0, 2.0), "attempts": ATTEMPTS}
    if kind is BudgetError:
        data |= {"spent": 1.5, "reserved": 0.25, "limit": 2.0}
    if kind is JournalError:
        data |= {"path": "out.jsonl", "line": 7}
    if issubclass(kind, ConversationError):
        data |= {"chat": '"c"'}
    if kind in (RequestTimeoutError, StreamTimeoutError):
        data |= {"phase": "first_token"}
    return data


def classes() -> list[type[LaplasError]]:
    members = vars(errors).values()
    return [one for one in members if inspect.isclass(one) and issubclass(one, LaplasError)]


def test_the_class_tree() -> None:
    assert set(classes()) == TREE.keys()
    for kind, bases in TREE.items():
        assert all(issubclass(kind, base) for base in bases)
        above = {base for base in kind.__mro__[1:] if base in TREE}
        expected = {base for base in TREE if any(issubclass(b, base) for b in bases)}
        assert above == expected
        assert issubclass(kind, ValueError) == (kind is ConfigError)
        assert issubclass(kind, TimeoutError) == (kind.__name__.endswith("TimeoutError"))


@pytest.mark.parametrize("kind", TREE)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling_with_all_its_data(
    kind: type[LaplasError], protocol: int
) -> None:
    error = kind("message: é", **data_of(kind))
    again = pickle.loads(pickle.dumps(error, protocol))
    assert_same(again, error)
    partial = getattr(error, "partial", None)
    if isinstance(partial, ChatCompletion):
        assert getattr(again, "partial", partial).request_id == partial.request_id


@pytest.mark.parametrize("kind", TREE)
@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_an_error_is_copied_with_all_its_data(kind: type[LaplasError], make: Any) -> None:
    error = kind("a message", **data_of(kind))
    error.add_note("a note")
    assert_same(make(error), error)


def assert_same(one: LaplasError, other: LaplasError) -> None:
    assert one is not other
    assert type(one) is type(other)
    assert vars(one) == vars(other)
    assert one.args == other.args
    assert (str(one), repr(one), one.message) == (str(other), repr(other), other.message)
    assert (one.attempts, one.request_id) == (other.attempts, other.request_id)


@pytest.mark.parametrize("kind", TREE)
def test_an_error_shows_its_message(kind: type[LaplasError]) -> None:
    error = kind("a message", **data_of(kind))
    assert str(error) == error.message == "a message"
    assert repr(error) == f"{kind.__name__}('a message')"
    for name, value in data_of(kind).items():
        assert getattr(error, name) == value


@pytest.mark.parametrize("kind", TREE)
def test_an_error_without_data_has_every_attribute(kind: type[LaplasError]) -> None:
    error = kind()
    assert (error.message, error.attempts, error.request_id) == ("", (), None)
    if isinstance(error, StreamError):
        assert error.partial == ChatCompletion()
    if isinstance(error, APIError | StreamAPIError):
        assert (error.status, error.code, error.retry_after, error.body) == (None,) * 4
    if isinstance(error, ConnectionFailedError):
        assert (error.sent, error.permanent) == (True, False)


def test_two_errors_do_not_share_a_partial() -> None:
    one, other = StreamError(), StreamError()
    one.partial.id = "x"
    assert other.partial.id == ""


@pytest.mark.parametrize("kind", TREE)
def test_every_class_has_its_own_docstring(kind: type[LaplasError]) -> None:
    assert "__doc__" in vars(kind)
    assert kind.__doc__


@pytest.mark.parametrize("phase", ["connect", "first_token", "total", "turn"])
def test_every_phase_of_a_timeout_is_documented(phase: str) -> None:
    assert f'"{phase}"' in (RequestTimeoutError.__doc__ or "")


def test_a_group_of_errors_is_split_by_class() -> None:
    group = ExceptionGroup("calls", [RateLimitError("a"), StreamTimeoutError("b")])
    late, rest = group.split(TimeoutError)
    assert late is not None
    assert rest is not None
    assert [str(error) for error in late.exceptions] == ["b"]
    assert [str(error) for error in rest.exceptions] == ["a"]
