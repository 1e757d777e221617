"""A command's own process leaves data sources of Great Expectations out, and what they read with."""

from __future__ import annotations

import subprocess
import sys

import pytest

LEAVE_OUT = "from enrollsync.terminal.left_out import leave_out_data_sources as leave_out\nleave_out()\n"
READERS = "import sys\nprint([name for name in sys.modules if name.endswith('.dynamic_pandas')])\n"
AMAZON = "import sys\nprint([name for name in ('boto3', 'botocore.client') if sys.modules.get(name)])\n"
OPEN = "from great_expectations.datasource.fluent import PandasDatasource\nPandasDatasource(name='x')\n"


def _python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("before", "readers"), [
    ("", "['great_expectations.datasource.fluent.dynamic_pandas']"), (LEAVE_OUT, "[]"),
])  # fmt: skip
def test_the_checks_are_imported_without_what_reads_files(before: str, readers: str) -> None:
    done = _python(f"{before}import enrollsync.validate.checking\n{READERS}")
    assert done.stdout.strip() == readers, done.stderr


@pytest.mark.parametrize(("before", "imported"), [("", "['boto3', 'botocore.client']"), (LEAVE_OUT, "[]")])
def test_they_are_imported_without_what_others_read_from_amazon_with(before: str, imported: str) -> None:
    done = _python(f"{before}import enrollsync.validate.checking\n{AMAZON}")
    assert done.stdout.strip() == imported, done.stderr


def test_who_opens_a_data_source_is_told_that_there_is_none() -> None:
    said = _python(LEAVE_OUT + OPEN).stderr.splitlines()[-1]
    assert said == "NotImplementedError: PandasDatasource: a command opens no data sources of Great Expectations"
