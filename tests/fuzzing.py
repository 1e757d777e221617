"""Damages deliveries at random, and checks that each of their lines is accounted for exactly once.

    python tests/fuzzing.py files --format clever --cases 200000
    python tests/fuzzing.py deliveries --cases 10000 --seed 7

`files` takes one file of a format at a time through the splitting of records, and every `--whole`th one through
reading it whole (`fuzzed_files.py`). `deliveries` takes whole small ones through ingest, the checks and the plan, some
with removals, changes of identifiers, or the lines that an earlier delivery left in quarantine; the checks are made one
by one, and Great Expectations makes every `--whole`th one's besides (`fuzzed_deliveries.py`). What is right is told by
other means than the program's (`damage.py`). A case that is not accounted for is printed with the seed that makes it
again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from enrollsync.formats import delivered
from fuzzed_deliveries import fuzz_deliveries
from fuzzed_files import fuzz_files


def main() -> int:
    """Run the cases that were asked for; prints every one that is not right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("files", "deliveries"))
    parser.add_argument("--format", choices=sorted(delivered()), default="batch_upload")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="number of the first case")
    parser.add_argument("--whole", type=int, default=20, help="every so manieth case: a file is read whole, a delivery "
                        "checked by Great Expectations")  # fmt: skip
    asked = parser.parse_args()
    began, counts, complaints = time.monotonic(), Counter[str](), 0
    for first in range(asked.seed, asked.seed + asked.cases, _TOLD_AFTER[asked.what]):
        last = min(first + _TOLD_AFTER[asked.what], asked.seed + asked.cases) - 1
        come_of, wrong = _FUZZ[asked.what](asked.format, range(first, last + 1), whole=asked.whole)
        counts += come_of
        complaints += len(wrong)
        for one in wrong:
            print(one)
        print(f"{asked.what} {asked.format}: seeds {asked.seed} to {last}, {dict(counts)}, {complaints} complaints, "
              f"{time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
    return 1 if complaints else 0


_FUZZ = {"files": fuzz_files, "deliveries": fuzz_deliveries}
_TOLD_AFTER = {"files": 10_000, "deliveries": 100}
"""So many cases at a time."""


if __name__ == "__main__":
    sys.exit(main())
