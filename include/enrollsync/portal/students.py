"""A district's active students, night after night and school by school."""

from __future__ import annotations

from typing import Any

from enrollsync.database.schema import STUDENTS, WHOLE
from enrollsync.portal.entry import DistrictVisit
from enrollsync.records.active import Night, active_after, last_nights, students_now
from enrollsync.records.search import Found, Wanted, search
from enrollsync.words.canonical import ORGANIZATIONS
from enrollsync.words.masking import masked

SCHOOLS = 20
"""Organizations on one page."""


def by_night_and_school(here: DistrictVisit, page: int) -> dict[str, Any]:
    """`active` of the district after each night, and a page of `schools` with their nights and the students of now."""
    district_id = here.district.district_id

    def tell() -> tuple[list[Night], Found, dict[int, int]]:
        with here.store.asking() as read:
            found = search(read, district_id, ORGANIZATIONS, Wanted(status="active"), page, SCHOOLS)
            shown = [row["organization_key"] for row in found.records]
            return last_nights(read, district_id), found, students_now(read, district_id, shown)

    nights, found, now = here.store.told(("students", district_id, page), tell)
    schools = [
        {
            "key": row["organization_key"],
            "name": masked(row["name"] or row["organization_id"] or row["source_key"]),
            "students": now.get(row["organization_key"], 0),
            "nights": active_after(nights, STUDENTS, str(row["organization_key"])),
        }
        for row in found.records
    ]
    return {
        "active": active_after(nights, STUDENTS, WHOLE),
        "schools": schools,
        "page": found.page,
        "pages": found.pages,
    }
