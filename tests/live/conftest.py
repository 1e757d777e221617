"""One Airflow for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from live.services import Airflow, started


@pytest.fixture(scope="module")
def airflow() -> Iterator[Airflow]:
    """The compose file's services, running; see `Airflow` for what can be asked of them."""
    with started() as services:
        yield services
