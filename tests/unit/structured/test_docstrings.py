"""Docstrings in the three usual styles."""

import pytest

from laplas_async.structured.docstrings import class_docstring, parse_docstring

GOOGLE = """Find flights.

    A longer text: not for the model.

    Args:
        origin (str): where it starts,
            as an airport
        day: when
        *rest: more

    Returns:
        A list: of flights.
    """
NUMPY = """Find flights.

    Parameters
    ----------
    origin : str
        where it starts,
        as an airport
    day, until : date
        when

    Returns
    -------
    list
        of flights
    """
SPHINX = """Find flights.

    :param str origin: where it starts,
        as an airport
    :param day: when
    :returns: a list
    """


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, SPHINX])
def test_summary_and_parameters_are_read(text: str) -> None:
    parsed = parse_docstring(text)
    assert parsed.summary == "Find flights."
    assert parsed.names["origin"] == "where it starts, as an airport"
    assert parsed.names["day"] == "when"
    assert "list" not in parsed.names
    assert "A list" not in parsed.names


@pytest.mark.parametrize("text", [None, "", "  \n "])
def test_no_docstring_describes_nothing(text: str | None) -> None:
    assert parse_docstring(text).summary is None


def test_a_summary_over_two_lines_is_joined() -> None:
    assert parse_docstring("One\n    and two.\n\n    Three.").summary == "One and two."


def test_generated_and_inherited_docstrings_do_not_count() -> None:
    class Base:
        """Base."""

    class Child(Base):
        pass

    class Generated:
        __doc__ = "Generated(x: int)"

    assert class_docstring(Base) == "Base."
    assert class_docstring(Child) is None
    assert class_docstring(Generated) is None
