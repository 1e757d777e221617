"""The roster as it was at the end of a day, worked out from the roster as it is and the audit.

A record is taken back change by change, the newest first: a change says in `before_json` what it found of every value
that it changed, and before its creation nobody knew the record. What a run wrote that was undone later was so until
then, like everything else.

`day` says which state a day ended with, `records` takes a few records back that were read by key, `tables` whole
tables in DuckDB. Both ways give the same, which a test proves.
"""

from __future__ import annotations
