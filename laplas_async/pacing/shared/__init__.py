"""One limiter for many processes and machines: who hands out permits, and how they are obtained.

``messages`` is what travels, ``leader`` and ``worker`` decide (both pure), ``snapshot`` is what the
next leader continues from, ``fallback`` what a worker does alone. Around them are thin shells:
``gate`` (the waiting tasks of one event loop), ``service`` (the leader's timers), ``unix`` (one
machine; with ``leader_thread``, ``connection``, ``directory`` and ``forks``) and ``redis`` (many).
``joining`` chooses between them. Nothing here is imported before it is used.
"""
