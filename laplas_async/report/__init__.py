"""The report of a batch run, rebuilt from its output file: numbers, and one HTML page.

    from laplas_async.report import read_run
    read_run("out.jsonl").write("run.html")

It refuses to load anything from a network, to need a script, and to show the content of messages
unless that is requested. Reading takes about 30 s of CPU for a million rows: in an event loop, call
it with ``asyncio.to_thread``.
"""

from laplas_async.report.run_report import RunReport, read_run

__all__ = ["RunReport", "read_run"]
