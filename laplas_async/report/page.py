"""The HTML page of a report: one file that needs no network and no script.

It refuses to show messages of errors, which may quote a request, unless that is requested.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import PurePath

from laplas_async.report.actions import recommend
from laplas_async.report.analysis import Distribution, Numbers, Timeline
from laplas_async.report.charts import Label, Marks, Series, histogram, time_chart
from laplas_async.report.rows import Rows
from laplas_async.report.style import STYLE
from laplas_async.report.text import amount, compact, escape, foreign, money, plural, seconds, share

_TERMS = (
    ("Rows", "Result lines, one for each row of the input; of several for one row, the last."),
    ("Rejected", "Attempts that the service answered with 429, and that were sent again later."),
    ("May be billed", "Attempts that failed after being sent: the service may have answered."),
    (
        "Cost",
        "As the service reported it, else by the price given, else by genai-prices; else unknown.",
    ),
    ("Wait", "Time of a row at the gate and between retries, in all its attempts together."),
    (
        "Time to first token (TTFT)",
        "From sending the last attempt to the first content. Only for streamed rows.",
    ),
    ("Latency", "From sending the last attempt to the complete response; waits are not included."),
    (
        "Time per output token (TPOT)",
        "(latency - TTFT) / (output tokens - 1). Gaps between chunks are something else.",
    ),
    ("Goodput", "Completed rows per second that keep the given limits of TTFT and latency."),
    ("Waiting", "Rows at the gate or in backoff: each is drawn for its whole wait before sending."),
    ("Percentiles", "Nearest rank: p95 is the least value that 95 % of the rows do not exceed."),
)


_SOURCES = {"reported": "reported by the service", "price": "by the price given"}


def render(rows: Rows, numbers: Numbers, *, messages: bool = False) -> str:
    """The page. ``messages``: show the message of one failure of each kind."""
    name = PurePath(rows.path).name
    title = escape(name)
    parts = [
        _header(rows, numbers, name),
        "<main>",
        _actions(rows, numbers),
        _tiles(numbers),
        _over_time(numbers.timeline),
        _distributions(numbers),
        _failures(rows, messages=messages),
        _retries(rows, numbers),
        _slowest(rows),
        _outcomes(rows, numbers),
        "<h2>What the numbers mean</h2><dl class='terms'>",
        *(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in _TERMS),
        "</dl></main><footer>Written by laplas-async; needs no network and no script.</footer>",
    ]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title} - laplas batch report</title><style>{STYLE}</style></head><body>"
    )
    return head + "\n".join(part for part in parts if part) + "</body></html>\n"


def _header(rows: Rows, numbers: Numbers, name: str) -> str:
    if not numbers.rows:
        verdict, style = "The output has no rows.", ""
    elif not numbers.failed and not numbers.left_in_flight and not rows.stopped:
        verdict, style = f"All {plural(numbers.rows, 'row')} completed.", ""
    else:
        parts = [f"{numbers.completed:,} of {plural(numbers.rows, 'row')} completed"]
        if rows.stopped:
            parts.append("the run stopped early")
        if numbers.failed:
            parts.append(f"{numbers.failed:,} failed")
        if numbers.left_in_flight:
            parts.append(f"{numbers.left_in_flight:,} were left in flight")
        verdict, style = f"{', '.join(parts)}.", " bad"
    began = numbers.timeline.began
    when = ""
    if began is not None:
        start = datetime.fromtimestamp(began).astimezone()
        when = (
            f"Began {start:%Y-%m-%d %H:%M:%S %Z}, active for {seconds(numbers.timeline.seconds)}."
        )
    models = ", ".join(foreign(model) for model, _ in rows.models.most_common(3))
    about = escape(when) + (f" Model: {models}" if models else "")
    return (
        f'<header><h1>Batch report: {foreign(name)}</h1><p class="verdict{style}">'
        f"{escape(verdict)}</p><p>{about}</p></header>"
    )


def _actions(rows: Rows, numbers: Numbers) -> str:
    actions = recommend(rows, numbers)
    if not actions:
        text = "Every row has a completion." if numbers.rows else "Run a batch first."
        return f'<ul class="actions"><li><b>Nothing to do.</b>{text}</li></ul>'
    items = (
        f"<li{' class=urgent' if one.urgent else ''}><b>{escape(one.what)}</b>"
        f"{escape(one.todo)}</li>"
        for one in actions
    )
    return f'<ul class="actions" aria-label="Recommended actions">{"".join(items)}</ul>'


def _tiles(numbers: Numbers) -> str:
    tiles = [
        (
            "Completed",
            f"{numbers.completed:,}",
            f"{share(numbers.completed, numbers.rows)} of {plural(numbers.rows, 'row')}",
        ),
        ("Failed", f"{numbers.failed:,}", share(numbers.failed, numbers.rows)),
        (
            "Attempts",
            f"{numbers.attempts:,}",
            f"{numbers.rejected:,} rejected, {numbers.may_be_billed:,} may be billed",
        ),
        (
            "Tokens",
            compact(numbers.prompt_tokens + numbers.completion_tokens),
            f"{numbers.prompt_tokens:,} prompt + {numbers.completion_tokens:,} completion"
            + (f"; {plural(n, 'row')} without usage" if (n := numbers.rows_without_usage) else ""),
        ),
        ("Cost", *_cost(numbers)),
    ]
    if numbers.rows_per_second is not None:
        tokens = amount(numbers.tokens_per_second or 0.0)
        tiles.append(("Rows per second", amount(numbers.rows_per_second), f"{tokens} tokens/s"))
    if numbers.goodput is not None and numbers.good_rows is not None:
        good = f"{plural(numbers.good_rows, 'row')} within the limits"
        tiles.append(("Goodput, rows per second", amount(numbers.goodput), good))
    items = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(more)}</small></dd></div>"
        for name, value, more in tiles
    )
    return f'<dl class="tiles">{"".join(items)}</dl>'


def _cost(numbers: Numbers) -> tuple[str, str]:
    billed = plural(numbers.may_be_billed, "more attempt") + " may be billed"
    if numbers.usd_may_be_billed:
        billed += f" (at most {money(numbers.usd_may_be_billed)})"
    more = f"; {billed}" if numbers.may_be_billed else ""
    used = "" if numbers.credits is None else f"; {amount(numbers.credits)} credits"
    if numbers.usd is None:
        return "unknown", f"not reported by the service, and no price was given{used}{more}"
    unpriced = numbers.completed - numbers.rows_priced
    some = f"; {plural(unpriced, 'row')} without a price" if unpriced > 0 else ""
    sources = [
        _SOURCES.get(source, f"by {source}")
        if len(numbers.usd_by_source) == 1
        else f"{money(usd)} {_SOURCES.get(source, f'by {source}')}"
        for source, usd in numbers.usd_by_source.items()
    ]
    return money(numbers.usd), f"{', '.join(sources)}{used}{some}{more}"


def _over_time(timeline: Timeline) -> str:
    intervals = timeline.intervals
    if len(intervals) < 2:
        return ""
    length = len(intervals) * timeline.width
    ticks = [seconds(float(f"{length * n / 4:.2g}")) for n in range(5)]
    gaps = Marks(
        f"{plural(len(timeline.gaps), 'idle time')} between runs, left out",
        "gap",
        [min(int(at / timeline.width), len(intervals) - 1) for at, _ in timeline.gaps],
    )
    rejected = Marks(
        "rejections (429)", "rejected", [n for n, i in enumerate(intervals) if i.rejected]
    )
    paused = Marks(
        "nothing in flight, rows waiting",
        "paused",
        [n for n, i in enumerate(intervals) if i.in_flight < 0.01 and i.waiting >= 0.5],
    )
    marks = [paused, rejected, gaps]
    rows = [i.rows for i in intervals]
    tokens = [i.tokens for i in intervals]
    busy = [i.in_flight for i in intervals]
    rates = [i.limit_rate for i in intervals]
    at_once = [None if (c := i.limit_concurrency) is None else float(c) for i in intervals]
    charts = [
        time_chart(
            "Rows per second",
            f"From 0 to {amount(max(rows))}, over {seconds(timeline.seconds)}.",
            [
                Series("completed", "area", rows),
                Series("failed", "second", [i.failed for i in intervals]),
                Series("learned limit", "limit", rates),
            ],
            marks,
            ticks,
        ),
        time_chart(
            "Tokens per second",
            f"From 0 to {amount(max(tokens))}, over {seconds(timeline.seconds)}.",
            [Series("prompt and completion", "area", tokens)],
            [gaps],
            ticks,
        ),
        time_chart(
            "In flight and waiting",
            f"At most {amount(max(busy))} in flight, over {seconds(timeline.seconds)}.",
            [
                Series("in flight", "area", busy),
                Series("waiting", "second", [i.waiting for i in intervals]),
                Series("learned limit", "limit", at_once),
            ],
            marks,
            ticks,
        ),
    ]
    return (
        f"<h2>Over time</h2>{''.join(charts)}"
        f'<p class="note">One point per {seconds(timeline.width)}; a row counts when it ends.</p>'
    )


def _distributions(numbers: Numbers) -> str:
    metrics: list[tuple[str, Distribution | None, Label]] = [
        ("Wait", numbers.waited, seconds),
        ("Time to first token", numbers.first_token, seconds),
        ("Latency", numbers.latency, seconds),
        ("Time per output token", numbers.time_per_output_token, seconds),
        ("Output tokens", numbers.output_tokens, amount),
    ]
    known = [(name, found, label) for name, found, label in metrics if found is not None]
    if not known:
        return ""
    table = _table(
        ("", "#rows", "#p50", "#p90", "#p95", "#p99", "#mean", "#max"),
        [
            (
                escape(name),
                f"{found.count:,}",
                *(
                    escape(label(value))
                    for value in (
                        found.p50,
                        found.p90,
                        found.p95,
                        found.p99,
                        found.mean,
                        found.max,
                    )
                ),
            )
            for name, found, label in known
        ],
    )
    charts = "".join(
        histogram(name, found, label) for name, found, label in known if found.count > 1
    )
    return f'<h2>Distributions</h2>{table}<div class="pair" style="margin-top:10px">{charts}</div>'


def _failures(rows: Rows, *, messages: bool) -> str:
    if not rows.failures:
        return ""
    order = sorted(rows.failures.values(), key=lambda failure: -failure.count)
    body = []
    for one in order:
        lines = ", ".join(str(line) for line in one.lines)
        lines += ", …" if one.count > len(one.lines) else ""
        cells = [foreign(one.kind), foreign(one.code), f"{one.count:,}"]
        cells += [f'<div class="lines">{lines}</div>', foreign(one.example)]
        body.append((*cells, foreign(one.message)) if messages else tuple(cells))
    heads = ("Failure", "Code", "#rows", "Lines of the input", "Example")
    note = (
        ""
        if messages
        else (
            '<p class="note">Messages of errors may quote requests, so they are left out; '
            "<code>laplas report --messages</code> shows one for each kind.</p>"
        )
    )
    table = _table((*heads, "Its message") if messages else heads, body)
    return f"<h2>Failures</h2>{table}{note}"


def _retries(rows: Rows, numbers: Numbers) -> str:
    if not rows.retries:
        return ""
    total = sum(rows.retries.values())
    body = [
        (foreign(reason), f"{count:,}", share(count, total))
        for reason, count in rows.retries.most_common()
    ]
    note = ""
    if numbers.may_be_billed:
        billed = plural(numbers.may_be_billed, "attempt")
        note = f'<p class="note">{billed} failed after being sent and may be billed.</p>'
    return f"<h2>Retries by reason</h2>{_table(('Reason', '#attempts', '#share'), body)}{note}"


def _slowest(rows: Rows) -> str:
    if not rows.slowest:
        return ""
    body = [
        (foreign(name), f"{line:,}", seconds(latency), f"{attempts:,}", "yes" if ok else "no")
        for latency, line, name, attempts, ok in sorted(rows.slowest, reverse=True)
    ]
    heads = ("Row", "#line", "#latency", "#attempts", "Completed")
    return f"<h2>Slowest rows</h2>{_table(heads, body)}"


def _outcomes(rows: Rows, numbers: Numbers) -> str:
    if not rows.finish_reasons:
        return ""
    total = sum(rows.finish_reasons.values())
    body = [
        (foreign(reason), f"{count:,}", share(count, total))
        for reason, count in rows.finish_reasons.most_common()
    ]
    table = _table(("Finish reason", "#choices", "#share"), body)
    other = []
    if numbers.possibly_duplicated:
        other.append(f"{plural(numbers.possibly_duplicated, 'row')} possibly sent twice")
    if numbers.superseded:
        other.append(f"{plural(numbers.superseded, 'line')} superseded by later ones")
    note = f'<p class="note">{escape("; ".join(other))}.</p>' if other else ""
    return f"<h2>Finish reasons</h2>{table}{note}"


def _table(heads: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table of cells that are escaped already; a head that begins with # is of numbers."""
    numeric = [head.startswith("#") for head in heads]

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if is_number else ''}>{cell}</{tag}>"
            for cell, is_number in zip(row, numeric, strict=True)
        )

    titles = [escape(head.removeprefix("#")) for head in heads]
    rows = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in body)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table"><table><thead><tr>'
        f"{cells(titles, 'th')}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
