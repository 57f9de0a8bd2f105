"""``laplas models``: the service's models, as a table or as JSON.

It refuses to sort or to cut names: the order and the ids are the service's.
"""

import argparse
import json
from collections.abc import Iterable

from laplas_async.cli.connect import check_key, make_client
from laplas_async.cli.exit_codes import DONE, FAILED
from laplas_async.cli.options import add_json_and_url
from laplas_async.cli.terminal import Output, make_runner
from laplas_async.types import Model
from laplas_async.wire.codec import to_dict


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``laplas models`` to the command line."""
    models = commands.add_parser(
        "models",
        help="list the service's models",
        description="List the service's models with their limits, in tokens.",
        epilog="Exit codes: 0; 1, there is none, or it failed; 2, wrong usage.",
        allow_abbrev=False,
    )
    models.add_argument(
        "--feature", metavar="NAME", help="only those with it, such as function or reasoning"
    )
    add_json_and_url(models)


def run(arguments: argparse.Namespace) -> int:
    """Print them. Raises ``LaplasError``; 1 if no model has the feature."""
    check_key()
    output = Output()
    client = make_client(arguments)

    async def fetch() -> list[Model]:
        async with client:
            return await client.models()

    with make_runner() as runner:
        models = runner.run(fetch())
    if arguments.feature is not None:
        models = [model for model in models if model.has_feature(arguments.feature)]
    if arguments.json:
        output.write(json.dumps([to_dict(model) for model in models], ensure_ascii=False) + "\n")
    else:
        output.write("".join(f"{line}\n" for line in table(models)))
    return DONE if models else FAILED


def table(models: Iterable[Model]) -> list[str]:
    """The lines of a table: id, type, context length and output maximum in tokens."""
    rows = [("MODEL", "TYPE", "CONTEXT", "OUTPUT")]
    rows += [
        (m.id, m.type or "", _count(m.context_length), _count(m.max_output_tokens)) for m in models
    ]
    width, kind = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [
        f"{id_:<{width}}  {type_:<{kind}}  {context:>9}  {output:>9}".rstrip()
        for id_, type_, context, output in rows
    ]


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
