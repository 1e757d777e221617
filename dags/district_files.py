"""Shows district files that cannot be used as Airflow import errors; it has no DAG of its own.

It stands apart from `enrollment_sync.py` because Airflow keeps import errors per file and retires every DAG of a file
that has one: a mistake in one district must not stop the others.
"""

from __future__ import annotations

from enrollsync.airflow.districts import UnusableFiles, read_districts

if problems := read_districts()[1]:
    raise UnusableFiles("\n".join(problems))
