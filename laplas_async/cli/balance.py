"""``laplas balance``: what is left on the account, in the service's credits."""

import argparse
import json

from laplas_async.cli.connect import check_key, make_client
from laplas_async.cli.exit_codes import DONE
from laplas_async.cli.options import add_json_and_url
from laplas_async.cli.terminal import Output, make_runner
from laplas_async.types import Balance
from laplas_async.wire.codec import to_dict


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``laplas balance`` to the command line."""
    balance = commands.add_parser(
        "balance",
        help="show what is left on the account",
        description="Show what is left on the account, in the service's credits.",
        allow_abbrev=False,
    )
    add_json_and_url(balance)


def run(arguments: argparse.Namespace) -> int:
    """Print it. Raises ``LaplasError``."""
    check_key()
    output = Output()
    client = make_client(arguments)

    async def fetch() -> Balance:
        async with client:
            return await client.balance()

    with make_runner() as runner:
        balance = runner.run(fetch())
    if arguments.json:
        output.write(json.dumps(to_dict(balance), ensure_ascii=False) + "\n")
    else:
        output.write("".join(f"{line}\n" for line in table(balance)))
    return DONE


def table(balance: Balance) -> list[str]:
    """The lines of a table; what the service does not say is left out."""
    rows = [
        ("balance", f"{balance.credits:,.10g} credits" + (" (low)" if balance.low_balance else ""))
    ]
    threshold = balance.low_balance_threshold
    rows += [
        (name, f"{value:,.10g} credits" if name == "low below" else str(value))
        for name, value in (
            ("low below", threshold),
            ("status", balance.status_explanation or balance.status),
            ("auto debit", balance.auto_debit_status),
            ("updated", balance.last_updated),
        )
        if value is not None
    ]
    return [f"{name:<12}{value}" for name, value in rows]
