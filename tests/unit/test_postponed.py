"""What Great Expectations imports and no suite uses is imported when it is used, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CHECKING = "import sys, enrollsync.validate.checking\n"


def _python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_checks_import_neither_charts_nor_distributions() -> None:
    heavy = "'altair.vegalite', 'scipy.stats._continuous_distns'"
    assert _python(f"{CHECKING}print([name for name in ({heavy}) if name in sys.modules])") == "[]"


USES = {
    "from scipy import stats; print(stats.norm.cdf(0))": "0.5",
    "import scipy.stats; print(scipy.stats.norm.cdf(0))": "0.5",
    "from great_expectations.expectations.core import expect_column_kl_divergence_to_be_less_than as module\n"
    "print(module.stats.norm.cdf(0), module.alt.Chart.__name__)": "0.5 Chart",
    "import altair.vegalite; print(altair.Chart.__name__)": "Chart",
}
"""A program, what it prints."""
EACH_BY_ITSELF = f"""
import os
for use in {list(USES)!r}:
    if os.fork() == 0:
        exec(use, {{}})
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_who_uses_them_gets_the_real_ones() -> None:
    assert _python(CHECKING + EACH_BY_ITSELF).splitlines() == list(USES.values())
