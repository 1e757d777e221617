"""What a command's own process leaves out of Great Expectations: its kinds of data sources.

A run hands its tables to the engine directly (`validate.checking`) and opens no data source. Importing them makes
models of every way in which pandas, Spark and a dozen databases read something: a quarter of what the whole import
takes. A process that others share, such as Airflow's, imports them all.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_SOURCES = re.compile(
    r"great_expectations\.datasource\.fluent\."
    r"((?!invalid_)[a-z0-9_]+_datasource|fabric|data_asset\.path\.[a-z_]+(\.[a-z_]+)*)"
)


_AMAZON = ("boto3", "botocore")
"""Where something else brings them, Great Expectations imports them beside, for tables in Amazon's services."""


def leave_out_data_sources() -> None:
    """Let nameless classes stand for data sources, in this process, from now on, and Amazon's library seem missing."""
    sys.meta_path.insert(0, _LeavesOut())
    for name in _AMAZON:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


class _LeavesOut(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if _SOURCES.fullmatch(fullname) else None

    def exec_module(self, module: ModuleType) -> None:
        def stand_in(name: str) -> Any:
            if name.startswith("__"):  # what the import system and `inspect` ask of any module
                raise AttributeError(name)
            setattr(module, name, type(name, (), {"__init__": _refuse, "__module__": module.__name__}))
            return getattr(module, name)

        module.__getattr__ = stand_in  # type: ignore[method-assign]


def _refuse(self: object, *given: object, **named: object) -> None:
    raise NotImplementedError(f"{type(self).__qualname__}: a command opens no data sources of Great Expectations")
