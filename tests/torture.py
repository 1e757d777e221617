"""What nobody wants to happen, made to happen again and again, with figures: `make torture`.

    make torture TRIALS=25 SEED=1 ONLY='kill -9'

Each part prints a line; what is not as promised is printed with the seed that makes it again, and the program ends
with 1. The table of one run stands in docs/reliability.md.
"""

from __future__ import annotations

import argparse
import sys

from killed import hurt


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=25, help="of each harm to each act on each database")
    parser.add_argument("--only", default="", help="harms whose name has this in it")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    wrong = 0
    for told in hurt(asked.trials, asked.seed, asked.only):
        counts = ", ".join(f"{count} {what}" for what, count in sorted(told.counts.items()))
        print(
            f"| {told.act} | {told.database} | {told.harm} | {told.trials} | {counts} | {len(told.wrong)} |", flush=True
        )
        for one in told.wrong:
            print(f"  seed {asked.seed}: {one}", flush=True)
        wrong += len(told.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
