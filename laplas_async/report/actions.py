"""What to do about a run: the recommendations at the top of its report.

Pure. It refuses to recommend what the numbers do not show.
"""

from attrs import frozen

from laplas_async.batch.stats import advice_for
from laplas_async.report.analysis import Numbers
from laplas_async.report.rows import Rows
from laplas_async.report.text import amount, plural, share

# Shares of all rows or attempts from which something is worth a recommendation: fewer are noise.
_MANY_REJECTED = 0.05
_MANY_CUT = 0.01
_LISTED = 4  # kinds of failures with a recommendation of their own


@frozen
class Action:
    """A recommendation: ``what`` was found, ``todo`` about it. ``urgent``: rows lack a result."""

    what: str
    todo: str
    urgent: bool = False


def recommend(rows: Rows, numbers: Numbers) -> list[Action]:
    """The recommendations, the most urgent first."""
    found = [
        *_stopped(rows),
        *_unfinished(numbers),
        *_failures(rows),
        *_limits(numbers),
        *_answers(rows, numbers),
    ]
    return sorted(found, key=lambda action: not action.urgent)


def _stopped(rows: Rows) -> list[Action]:
    if not rows.stopped:
        return []
    todo = "Rows that were not sent are sent when the same command is run again."
    return [Action(f"The run stopped early: {rows.stopped}.", todo, urgent=True)]


def _unfinished(numbers: Numbers) -> list[Action]:
    found = []
    if numbers.left_in_flight or numbers.incomplete_lines:
        number = max(1, numbers.left_in_flight)
        what = f"The run was stopped while {plural(number, 'row was', 'rows were')} in flight."
        found.append(Action(what, "Run the same command again: it resumes.", urgent=True))
    if numbers.superseded:
        what = f"{plural(numbers.superseded, 'line is', 'lines are')} superseded by later ones."
        found.append(Action(what, "Let a run finish: it removes them from the output."))
    return found


def _failures(rows: Rows) -> list[Action]:
    by_kind: dict[str, int] = {}
    for failure in rows.failures.values():
        by_kind[failure.kind] = by_kind.get(failure.kind, 0) + failure.count
    order = sorted(by_kind.items(), key=lambda pair: (-pair[1], pair[0]))
    found = []
    for kind, count in order[:_LISTED]:
        advice = advice_for(kind)
        what = f"{plural(count, 'row')} failed: {kind}."
        found.append(Action(what, f"{advice[0].upper()}{advice[1:]}.", urgent=True))
    rest = sum(count for _, count in order[_LISTED:])
    if rest:
        what = f"{plural(rest, 'row')} failed in other ways."
        found.append(Action(what, "See the failures below.", urgent=True))
    return found


def _limits(numbers: Numbers) -> list[Action]:
    found = []
    if numbers.attempts and numbers.rejected >= _MANY_REJECTED * numbers.attempts:
        last = numbers.timeline.intervals[-1] if numbers.timeline.intervals else None
        todo = "Set the limit if you know it (--rpm, --tpm, --concurrency)."
        if last is not None and last.limit_rate is not None:
            learned = amount(60 * last.limit_rate)
            todo = f"Set the limit if you know it; the one learned is --rpm {learned}."
        part = share(numbers.rejected, numbers.attempts)
        found.append(Action(f"{part} of the attempts were rejected with 429.", todo))
    if numbers.may_be_billed:
        attempts = plural(numbers.may_be_billed, "attempt")
        what = f"{attempts} failed after being sent, and may be billed."
        found.append(Action(what, "Compare with the bill of the service; see Retries below."))
    if numbers.possibly_duplicated:
        count = plural(numbers.possibly_duplicated, "row was", "rows were")
        what = f"{count} in flight when an earlier run was killed, and may have been sent twice."
        found.append(Action(what, "No action is needed unless the service bills each request."))
    return found


def _answers(rows: Rows, numbers: Numbers) -> list[Action]:
    found = []
    cut, filtered = rows.finish_reasons["length"], rows.finish_reasons["content_filter"]
    if numbers.completed and cut >= _MANY_CUT * numbers.completed:
        what = f"{plural(cut, 'answer was', 'answers were')} cut off by the token limit."
        found.append(Action(what, "Raise max_tokens (--max-tokens) and run these rows again."))
    if filtered:
        what = f"{plural(filtered, 'answer was', 'answers were')} stopped by a content filter."
        found.append(Action(what, "Review these requests."))
    return found
