"""One limiter for many processes and machines: who hands out permits, and how they are obtained.

``messages`` is what travels, ``leader`` and ``worker`` decide (both pure), ``snapshot`` is what the
next leader continues from, ``fallback`` what a worker does alone. Around them are thin shells:
``gate`` (the waiting tasks of one event loop), ``service`` (the leader's timers), ``unix`` with
``directory`` (one machine) and ``redis`` (many). Nothing here is imported before it is used.
"""
