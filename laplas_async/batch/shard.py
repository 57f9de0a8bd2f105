"""A shard: some rows of a dataset, requested once and committed as one file, in any engine.

    DIR/work/SHARD.jsonl     the journal while the shard is worked on
    DIR/part-SHARD.parquet   its results; written by rename, and this is the commit
    DIR/errors/SHARD.jsonl   its rows that have no completion, with the reason of each

A shard is identified by where its rows are from, their content and the settings, so a run after any
interruption finds what is done: a part is read, a journal is resumed. It refuses to know engines;
``laplas_async.ray`` brings it rows.
"""

import asyncio
import contextlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from laplas_async.batch import jsonl
from laplas_async.batch.parts import PartFormat, write_durably
from laplas_async.batch.run import run_batch
from laplas_async.batch.shard_files import Deaths, ShardFiles, locked, write_bytes
from laplas_async.client import LaplasClient
from laplas_async.errors import JournalError


@frozen(kw_only=True)
class ShardReport:
    """What became of a shard. ``requests``: how many were sent in this run, retries included.

    ``resumed``: rows that had their result before this run; ``possibly_duplicated``: rows that were
    in flight when a process was killed, so that they may have been requested twice; ``set_aside``:
    rows that are not sent any more, because their process died twice.
    """

    shard: str
    rows: int
    answered: int = 0
    failed: int = 0
    resumed: int = 0
    requests: int = 0
    possibly_duplicated: int = 0
    set_aside: int = 0


@frozen
class ShardResult:
    """The rows of a part, in the order of the shard's rows, and the report."""

    rows: list[dict[str, Any]]
    report: ShardReport


class ShardWorker:
    """Completes shards with one client, one shard at a time.

    ``directory`` holds the results, and what is needed to resume; several processes may use it at
    once, on one machine or on a file system that locks for all of them. ``parts``: the format of
    the results. ``defaults`` and ``system``: as for ``run_batch``. ``retry_failed``: request rows
    again that failed in an earlier run.
    """

    def __init__(
        self,
        client: LaplasClient,
        directory: str | os.PathLike[str],
        parts: PartFormat,
        *,
        defaults: Mapping[str, Any] | None = None,
        system: str | None = None,
        retry_failed: bool = False,
    ) -> None:
        self._client = client
        self._directory = Path(directory)
        self._parts = parts
        self._defaults = dict(defaults or {})
        self._system = system
        self._retry_failed = retry_failed
        for name in ("work", "errors"):
            (self._directory / name).mkdir(parents=True, exist_ok=True)

    async def run(self, rows: Sequence[Mapping[str, Any]], source: str = "") -> ShardResult:
        """Have a result for each row, and commit them.

        A row is an object as in a line of ``run_batch``'s input: ``messages``, ``prompt`` or
        ``body``, and a ``custom_id`` if it has one of its own. ``source`` names where they are
        from, such as a file and a range in it. Raises ``JournalError`` if the directory cannot be
        used, or when the batch stops early (a bad key); what has a result keeps it. Cancelling
        it leaves the journal, from which the next run resumes.
        """
        lines = await asyncio.to_thread(_lines, rows)
        shard = self._identify(lines, source)
        files = ShardFiles(self._directory, shard, self._parts.suffix)
        async with locked(files.lock):
            if files.part.exists() and not (self._retry_failed and files.errors.exists()):
                done = await asyncio.to_thread(self._parts.read, files.part)
                files.remove_work(keep_journals=files.errors.exists())
                report = ShardReport(shard=shard, rows=len(rows), resumed=len(done))
                return ShardResult(done, report)
            return await self._complete(files, lines)

    def _identify(self, lines: Sequence["_Line"], source: str) -> str:
        settings = [self._client.model, self._defaults, self._system, source]
        return jsonl.digest(jsonl.canonical(settings), *(line.data for line in lines)).hex()

    async def _complete(self, files: ShardFiles, lines: list["_Line"]) -> ShardResult:
        if files.part.exists():  # it is done again, for its failed rows: each has another chance
            files.forget_deaths()
        valid = [line for line in lines if line.problem is None]
        before = await asyncio.to_thread(_results, files)
        deaths = Deaths.load(
            files, [line.custom_id for line in valid if line.custom_id not in before]
        )
        completed = {name for name, value in _last_lines(files.alone).items() if _is_success(value)}
        requests = 0
        with deaths.watch(files) as is_alone:
            for line in valid:
                if deaths.is_suspect(line.custom_id) and not deaths.is_set_aside(line.custom_id):
                    is_alone(line.custom_id)
                    requests += (await self._batch([line], files.alone)).tries
            is_alone(None)
            # What was completed alone stays completed; a failure may be requested again.
            others = [
                line
                for line in valid
                if not deaths.is_suspect(line.custom_id) and line.custom_id not in completed
            ]
            requests += (await self._batch(others, files.journal)).tries
        found = await asyncio.to_thread(_results, files)
        done = [self._result(line, found, deaths) for line in lines]
        failed = [row for row in done if row["error_code"] is not None]
        await asyncio.to_thread(self._commit, files, done, failed)
        return ShardResult(
            done,
            ShardReport(
                shard=files.shard,
                rows=len(done),
                answered=len(done) - len(failed),
                failed=len(failed),
                resumed=len(before),
                requests=requests,
                possibly_duplicated=sum(row["possibly_duplicated"] for row in done),
                set_aside=sum(deaths.is_set_aside(line.custom_id) for line in valid),
            ),
        )

    async def _batch(self, lines: Sequence["_Line"], journal: Path) -> Any:
        report = await run_batch(
            io.BytesIO(b"".join(line.data for line in lines)),
            journal,
            client=self._client,
            defaults=self._defaults,
            system=self._system,
            retry_failed=self._retry_failed,
        )
        if report.ending != "done":
            raise JournalError(
                f"{journal}: stopped early: {report.reason or report.ending}; correct that and run "
                "the same again",
                path=str(journal),
            )
        return report

    def _result(
        self, line: "_Line", found: Mapping[str, dict[str, Any]], deaths: Deaths
    ) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys(
            ("text", "finish_reason", "error_code", "error_message", "body")
        )
        row |= {"custom_id": line.custom_id, "prompt_tokens": None, "completion_tokens": None}
        row |= {"attempts": 0, "possibly_duplicated": deaths.is_suspect(line.custom_id)}
        if line.problem:
            return row | {"error_code": line.problem[0], "error_message": line.problem[1]}
        if deaths.is_set_aside(line.custom_id):
            message = "its process died twice while it was in flight; it is not sent any more"
            return row | {"error_code": "killed_its_process", "error_message": message}
        return row | _flat(found[line.custom_id])

    def _commit(
        self, files: ShardFiles, done: list[dict[str, Any]], failed: list[dict[str, Any]]
    ) -> None:
        if failed:
            data = b"".join(jsonl.write(row) for row in failed)
            write_durably(files.errors, lambda path: write_bytes(path, data))
        write_durably(files.part, lambda path: self._parts.write(path, done))
        if not failed:
            files.errors.unlink(missing_ok=True)
        files.remove_work(keep_journals=bool(failed))  # with them, ``retry_failed`` resends less


# --- rows -----------------------------------------------------------------------------------------


@frozen
class _Line:
    """A row as a line of the batch's input; ``problem``: code and message, if it is not sent."""

    custom_id: str
    data: bytes
    problem: tuple[str, str] | None = None


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[_Line]:
    lines: list[_Line] = []
    seen: set[str] = set()
    for number, row in enumerate(rows):
        value = dict(row)
        problem: tuple[str, str] | None = None
        try:
            own = value.pop("custom_id", None)
            if own is None:
                name = jsonl.digest(b"%d" % number, jsonl.canonical(value)).hex()
                custom_id = f"row-{name[:16]}"
            else:
                custom_id = str(own)
            data = jsonl.write(value | {"custom_id": custom_id})
        except (ValueError, RecursionError) as error:
            custom_id, data = f"row-{number}", b""
            problem = ("invalid_request", f"cannot be written as JSON ({error})")
        if custom_id in seen:
            message = f"custom_id={custom_id!r}: an earlier row of the shard has the same"
            problem = ("duplicate_custom_id", message)
        seen.add(custom_id)
        lines.append(_Line(custom_id, data, problem))
    return lines


def _last_lines(journal: Path) -> dict[str, dict[str, Any]]:
    """The last result line of each row; a kill may have cut the last line of the file."""
    found: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(FileNotFoundError), journal.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                value = jsonl.read(line)
                found[value["custom_id"]] = value
    return found


def _results(files: ShardFiles) -> dict[str, dict[str, Any]]:
    """The result line of each row in either journal; a completion rather than a failure."""
    found = _last_lines(files.alone)
    for name, value in _last_lines(files.journal).items():
        if name not in found or not _is_success(found[name]):
            found[name] = value
    return found


def _is_success(value: Mapping[str, Any]) -> bool:
    return value["error"] is None and 200 <= value["response"]["status_code"] < 300


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    """The columns of a part, from a result line of the batch."""
    response, error, extension = value["response"], value["error"], value["laplas"]
    row: dict[str, Any] = {"attempts": extension.get("attempts", 0)}
    if extension.get("possibly_duplicated"):
        row["possibly_duplicated"] = True
    if error is not None:
        return row | {"error_code": error["code"], "error_message": error["message"]}
    body = response["body"]
    row["body"] = json.dumps(body, ensure_ascii=False)
    if not _is_success(value):
        described = body.get("error")
        described = described if isinstance(described, dict) else {"message": described}
        code = described.get("code") or described.get("type") or response["status_code"]
        return row | {"error_code": str(code), "error_message": str(described.get("message"))}
    choice = body["choices"][0] if body["choices"] else {"message": {}}
    content, usage = choice["message"].get("content"), body.get("usage") or {}
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return row | {
        "text": content,
        "finish_reason": choice.get("finish_reason"),
        "prompt_tokens": usage.get("prompt_tokens"),
        "completion_tokens": usage.get("completion_tokens"),
    }
