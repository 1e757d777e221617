"""What Great Expectations imports for expectations that no suite here uses: a third of the time that its import takes.

Modules that stand in for them import the real ones when somebody does use them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_UNUSED = ("altair", "scipy.stats")
"""Charts and distributions, for `expect_column_kl_divergence_to_be_less_than` and its like."""


def postpone_unused() -> None:
    """Let stand-ins take the places of modules that are not imported yet."""
    for name in _UNUSED:
        sys.modules.setdefault(name, _stand_in(name))


def _stand_in(name: str) -> ModuleType:
    module = ModuleType(name)

    def real(attribute: str) -> Any:
        if attribute == "__file__":  # `inspect` asks every module for it, which is no use
            raise AttributeError(attribute)
        if sys.modules.get(name) is module:
            del sys.modules[name]
        return getattr(import_module(name), attribute)

    module.__getattr__ = real  # type: ignore[method-assign]
    return module
