"""What the roster knows of single people, classes and organizations: finding them, and showing one with its life.

Facts for pages and programs, as plain values: nothing here knows of a page, and nothing is masked. Every question is
answered by an index, however many people a district has.
"""

from __future__ import annotations
