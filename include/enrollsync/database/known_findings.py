"""What a person says of findings: that they are known until a day, or no longer. No run does so."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Insert, Update, insert, update

from enrollsync.database.access import Database
from enrollsync.database.memory import instant
from enrollsync.database.messages import one_line_errors
from enrollsync.database.schema import KNOWN_FINDINGS
from enrollsync.words.masking import new_name


class Knowledge(Database):
    """What persons know of findings."""

    def know_findings(
        self, district_id: str, code: str, organization_key: int | None, *, until: date, person: str, reason: str,
        now: datetime,
    ) -> str:  # fmt: skip
        """Remember that findings of that code are known, in one organization or (None) in all; returns its id."""
        known_id = new_name()
        row = {
            "district_id": district_id,
            "known_id": known_id,
            "code": code,
            "organization_key": organization_key,
            "until": until.isoformat(),
            "person": person,
            "reason": reason,
            "made_at": instant(now),
        }
        self._write(district_id, insert(KNOWN_FINDINGS).values(**row))
        return known_id

    def end_known_findings(self, district_id: str, known_id: str, *, person: str, now: datetime) -> None:
        """Let them count as new again; what has been ended before stays as it is."""
        statement = (
            update(KNOWN_FINDINGS)
            .values(ended_at=instant(now), ended_by=person)
            .where(KNOWN_FINDINGS.c.district_id == district_id, KNOWN_FINDINGS.c.known_id == known_id)
            .where(KNOWN_FINDINGS.c.ended_at.is_(None))
        )
        self._write(district_id, statement)

    def _write(self, district_id: str, statement: Insert | Update) -> None:
        self.require_roster()
        with (
            one_line_errors(self.backend, district_id, files=False),
            self.backend.recording("known findings") as connection,
        ):
            connection.execute(statement)
