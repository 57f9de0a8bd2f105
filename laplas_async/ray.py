"""Datasets over Ray Data: ``complete_dataset`` and a reader of batch files. Extra ``[ray]``.

    ds = laplas_async.ray.complete_dataset(
        ray.data.read_parquet("questions/"), column="question", into="answer",
        output="answers/", concurrency=4,
    )

Each block of the dataset is a shard (``laplas_async.batch.shard``): its results are one file in
``output``, and a run after any interruption requests only what is missing. The actors share one
learned limit. Ray and pyarrow are imported when a function is called. It refuses to schedule, to
retry and to keep results: Ray, the client and the shards do.
"""

import asyncio
import functools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from attrs import frozen

from laplas_async.batch import jsonl
from laplas_async.batch.parts import ParquetParts
from laplas_async.batch.reader import Lines
from laplas_async.batch.rows import MAX_LINE_BYTES
from laplas_async.batch.shard import ShardWorker
from laplas_async.batch.source import Source
from laplas_async.client import LaplasClient
from laplas_async.errors import ConfigError

_ADDED = ("finish_reason", "error", "prompt_tokens", "completion_tokens")
_BODY = "body"  # the column of the batch format: a request as JSON


def complete_dataset(
    ds: Any,
    *,
    column: str,
    into: str,
    concurrency: int = 1,
    output: str | os.PathLike[str] | None = None,
    client: Callable[[], LaplasClient] | None = None,
    shared: bool | str = True,
    defaults: Mapping[str, Any] | None = None,
    system: str | None = None,
    retry_failed: bool = False,
    **ray_options: Any,
) -> Any:
    """Complete each row of a Ray dataset; the dataset with the columns of the results.

    ``column``: a prompt (text) or a list of messages; the column named ``body``, as
    ``read_batch`` gives it, has whole requests as JSON. ``into``: the new column for the text, null
    where there is none; beside it are ``INTO_finish_reason``, ``INTO_error`` (null, or the reason),
    ``INTO_prompt_tokens``, ``INTO_completion_tokens``, and ``custom_id``, which identifies a row
    and is made if the dataset has none. An id that repeats within a block makes the later row a
    failed one; across blocks, each row has its own result.

    ``output``: a directory for the results, ``part-SHARD.parquet`` and ``errors/``, which every
    actor can reach and which locks files for all of them. Run the same again after an interruption:
    only what is missing is requested; rows that were in flight when an actor died may be requested
    twice, and are marked. None: a temporary directory, which outlives actors but not the next
    driver. ``retry_failed``: request failed rows of earlier runs again.

    ``concurrency``: how many actors; one learned limit paces them all (``shared``: as for
    ``LaplasClient``, "redis://..." for several machines), so more actors are for CPU, not for
    speed. ``client``: a function that makes each actor's client instead. ``defaults``, ``system``:
    as for ``run_batch``. Other options go to Ray's ``map_batches``.

    A shard is a block of the dataset, so bounds the memory of an actor: ``ds.repartition(n)`` makes
    smaller ones. Nothing is requested before Ray executes the dataset. Raises ``ConfigError``.
    """
    _import("ray")
    ParquetParts()
    _check_columns(column, into)
    if type(concurrency) is not int or concurrency < 1:
        raise ConfigError(f"concurrency={concurrency!r}: must be an integer, at least 1")
    if client is not None and shared is not True:
        raise ConfigError("client, shared: pass one of them (the function decides itself)")
    directory = tempfile.mkdtemp(prefix="laplas-ray-") if output is None else os.fspath(output)
    job = _Job(
        column=column,
        into=into,
        directory=str(Path(directory).absolute()),
        make_client=client or functools.partial(LaplasClient, shared=shared),
        defaults=dict(defaults or {}),
        system=system,
        retry_failed=retry_failed,
    )
    return ds.map_batches(
        _ShardActor,
        fn_constructor_args=(job,),
        compute=_import("ray.data").ActorPoolStrategy(size=concurrency),
        batch_size=None,  # a block is a shard, so the same input has the same shards again
        batch_format="pyarrow",
        **ray_options,
    )


def read_batch(
    paths: str | os.PathLike[str] | list[str], *, shard_rows: int = 1000, **ray_options: Any
) -> Any:
    """A Ray dataset of the lines of batch files, in blocks of ``shard_rows``.

    ``paths``: files in either input format of ``laplas batch`` (``.gz`` and ``.zst`` too), which
    every worker can read. Columns: ``custom_id`` (null where a line has none), ``body`` (the
    request as JSON), ``source`` (the file and the number of the line). A line that cannot be read
    has a body all the same, and becomes a failed row. Raises ``ConfigError``.
    """
    ray_data = _import("ray.data")
    if type(shard_rows) is not int or shard_rows < 1:
        raise ConfigError(f"shard_rows={shard_rows!r}: must be an integer, at least 1")
    names = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    shards = [shard for name in names for shard in _ranges(str(Path(name).absolute()), shard_rows)]
    if not shards:
        raise ConfigError(f"{', '.join(map(str, names))}: no rows")
    ds = ray_data.from_items(shards, override_num_blocks=len(shards))
    return ds.map_batches(_read_shard, batch_size=None, batch_format="pyarrow", **ray_options)


def _check_columns(*names: Any) -> None:
    for name in names:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"{name!r}: must be the name of a column")


@frozen(kw_only=True)
class _Job:
    """What each actor does; sent to it pickled."""

    column: str
    into: str
    directory: str
    make_client: Callable[[], LaplasClient]
    defaults: dict[str, Any]
    system: str | None
    retry_failed: bool


class _ShardActor:
    """Completes one block after another, in an event loop of its own."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._loop = asyncio.new_event_loop()
        self._worker = self._loop.run_until_complete(self._start())

    async def _start(self) -> ShardWorker:
        job = self._job
        return ShardWorker(
            job.make_client(),
            job.directory,
            ParquetParts(),
            defaults=job.defaults,
            system=job.system,
            retry_failed=job.retry_failed,
        )

    def __call__(self, table: Any) -> Any:
        """The block with the columns of its results."""
        arrow, job = _import("pyarrow"), self._job
        rows = _requests(table, job.column)
        done = self._loop.run_until_complete(self._worker.run(rows)).rows
        text = arrow.array([row["text"] for row in done], arrow.string())
        added = {job.into: text}
        for name in _ADDED:
            added[f"{job.into}_{name}"] = _column(arrow, done, name)
        if "custom_id" not in table.column_names or None in table["custom_id"].to_pylist():
            added["custom_id"] = arrow.array([row["custom_id"] for row in done], arrow.string())
        for name, values in added.items():
            at = table.schema.get_field_index(name)
            table = (
                table.append_column(name, values) if at < 0 else table.set_column(at, name, values)
            )
        return table


def _column(arrow: Any, done: list[dict[str, Any]], name: str) -> Any:
    if name == "error":
        reasons = [
            None if row["error_code"] is None else f"{row['error_code']}: {row['error_message']}"
            for row in done
        ]
        return arrow.array(reasons, arrow.string())
    kind = arrow.int64() if name.endswith("tokens") else arrow.string()
    return arrow.array([row[name] for row in done], kind)


def _requests(table: Any, column: str) -> list[dict[str, Any]]:
    """The rows of a block as rows of a batch."""
    if column not in table.column_names:
        names = ", ".join(table.column_names)
        raise ConfigError(f"column={column!r}: the dataset has no such column, only {names}")
    ids = table["custom_id"].to_pylist() if "custom_id" in table.column_names else []
    rows: list[dict[str, Any]] = []
    for number, value in enumerate(table[column].to_pylist()):
        row: dict[str, Any] = {}
        if column == _BODY and isinstance(value, str):
            try:
                row["body"] = jsonl.read(value.encode())
            except ValueError:
                row["body"] = value  # reported as a bad row
        else:
            row["prompt" if value is None or isinstance(value, str) else "messages"] = value
        if ids and ids[number] is not None:
            row["custom_id"] = str(ids[number])
        rows.append(row)
    return rows


def _read_shard(table: Any) -> Any:
    """The lines of each range in a table of ranges."""
    arrow = _import("pyarrow")
    columns: dict[str, list[Any]] = {"custom_id": [], "body": [], "source": []}
    for shard in table.to_pylist():
        for number, data in _read_range(**shard):
            custom_id, body = _split(data)
            columns["custom_id"].append(custom_id)
            columns["body"].append(body)
            columns["source"].append(f"{shard['path']}:{number}")
    arrays = {name: arrow.array(values, arrow.string()) for name, values in columns.items()}
    return arrow.table(arrays)


def _split(data: bytes) -> tuple[str | None, str]:
    """The id of a line, and the rest as JSON."""
    try:
        value = jsonl.read(data)
        custom_id = value.pop("custom_id", None)
        body = value.get("body", value) if "messages" not in value else value
        return None if custom_id is None else str(custom_id), jsonl.canonical(body).decode()
    except (ValueError, AttributeError, TypeError):
        return None, data.decode(errors="replace")


def _ranges(path: str, size: int) -> Iterator[dict[str, Any]]:
    """The file in ranges of so many rows. A compressed file is read from its start for each."""
    rows = offset = 0
    start: dict[str, Any] = {}
    for number, data in _lines(path):
        if data.strip():
            if rows % size == 0:
                if start:
                    yield start | {"rows": size}
                start = {"path": path, "line": number, "offset": offset}
            rows += 1
        offset += len(data)
    if start:
        yield start | {"rows": (rows - 1) % size + 1}


def _read_range(path: str, line: int, offset: int, rows: int) -> Iterator[tuple[int, bytes]]:
    """The rows of a range with the numbers of their lines."""
    for number, data in _lines(path, line, offset):
        if data.strip():
            yield number, data if len(data) <= MAX_LINE_BYTES else b"(a line that is too long)"
            rows -= 1
            if not rows:
                return


def _lines(path: str, line: int = 1, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers, from a line that begins at ``offset``."""
    if path.endswith((".gz", ".zst")):
        number, source, lines = 0, Source(path), Lines()
        try:
            for data in source.pieces():
                for number, found in lines.feed(data):
                    if number >= line:
                        yield number, found if isinstance(found, bytes) else b"(too long)"
            for number, found in lines.end():
                if number >= line:
                    yield number, found if isinstance(found, bytes) else b"(too long)"
        finally:
            source.close()
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - closed below, when it could be opened
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    with file:
        file.seek(offset)
        yield from enumerate(file, line)


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        package = name.partition(".")[0]
        raise ConfigError(f"{package} is not installed: pip install 'laplas-async[ray]'") from None
