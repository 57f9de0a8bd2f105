"""``openai._types``, from which many programs import ``NOT_GIVEN``."""

from typing import Any

from laplas_async.openai.omitted import NOT_GIVEN, NotGiven, Omit, not_given, omit

Body = object
Headers = dict[str, Any]
Query = dict[str, Any]

__all__ = ["NOT_GIVEN", "Body", "Headers", "NotGiven", "Omit", "Query", "not_given", "omit"]
