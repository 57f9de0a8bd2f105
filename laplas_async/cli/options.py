"""Options that several commands share, and the types of option values.

It refuses to check the ranges of the API's fields, which the library does.
"""

import argparse
import math


def add_client_options(to: argparse._ActionsContainer) -> None:
    """The options that say which service and model are called, and with which instructions."""
    to.add_argument("--system", metavar="TEXT", help="the system message")
    to.add_argument("--model", metavar="NAME", help="the model (default: the service's)")
    to.add_argument("--base-url", metavar="URL", help="in place of LAPLAS_BASE_URL")


def add_numbers(to: argparse._ActionsContainer, *options: tuple[str, str, str]) -> None:
    """Options named like the API's fields: (option, metavar, help)."""
    for option, metavar, explanation in options:
        to.add_argument(option, type=number, metavar=metavar, help=explanation)


def number(text: str) -> float:
    """A number; an integer if it is written as one."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def count(text: str) -> int:
    """An integer, at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


def seconds(text: str) -> float:
    """Seconds, more than 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be seconds, more than 0, not {text}")
    return value


def usd(text: str) -> float:
    """US dollars, at least 0."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be US dollars, at least 0, not {text}")
    return value


def port(text: str) -> int:
    """A TCP port, 0 for any free one."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"must be 0 to 65535, not {text}")
    return value


def add_json_and_url(to: argparse.ArgumentParser) -> None:
    """Options of the commands that print what the service lists."""
    to.add_argument("--json", action="store_true", help="print JSON in place of a table")
    to.add_argument("--base-url", metavar="URL", help="in place of LAPLAS_BASE_URL")
    to.set_defaults(model=None)  # the commands' client has one, and these need none
