"""The modules inside ``openai.types`` that hold one declaration each, without a file for each.

Programs import from them (``from openai.types.chat.chat_completion_tool_param import ...``), while
each name is also in the package above. It refuses to make up names: a module has those of its
package, and what is sent (``...Param``, ``ImageURL``) is a plain dict's type.
"""

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any


class _Submodule(ModuleType):
    """A module whose names are those of its package; other classes are plain dicts."""

    def __getattr__(self, name: str) -> Any:
        if not name[:1].isupper():
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        package = sys.modules[self.__name__.rpartition(".")[0]]
        return vars(package).get(name, dict[str, Any])


def add_submodules(package: str, names: Iterable[str]) -> None:
    """Make modules of these names importable from a package."""
    for name in names:
        full = f"{package}.{name}"
        module = sys.modules.setdefault(full, _Submodule(full, f"``{full}``."))
        setattr(sys.modules[package], name, module)
