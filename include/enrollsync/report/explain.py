"""Why a record is as it is: everything that runs did to it, and why a row that speaks of it did not load.

Only reads the database; the few rows of one record are put together here. What is remembered of findings is decided in
`kept_findings.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, union

from enrollsync.as_of.records import Read, Row
from enrollsync.database import Store
from enrollsync.database.audit import audit_of, file_of
from enrollsync.database.forgotten import forgotten_as
from enrollsync.database.merges import merges_now
from enrollsync.database.removed_values import IMAGE, WHY
from enrollsync.database.schema import (
    BASE,
    FINDINGS,
    IDENTIFIER_HISTORY,
    RUNS,
    USUAL_LINKS,
    USUAL_REASON,
    columns_of,
    said_columns,
)
from enrollsync.formats import sources
from enrollsync.plan.answers import answered
from enrollsync.words.canonical import BY_NAME, ENTITIES, ID_CHANGES, KIND_PREFIXES, ORGANIZATIONS, USERS, Entity
from enrollsync.words.errors import ConfigurationError
from enrollsync.words.masking import all_masked, masked

_CALLED: dict[str, Entity] = {entity.singular: entity for entity in ENTITIES if entity.key}
"""What the command calls an entity."""
_MOST_FINDINGS = 1000
"""The newest that are looked at."""
_ALWAYS = "9999"
"""Sorts behind every instant."""


@dataclass(frozen=True)
class _Claim:
    """A name by which a record went."""

    key: int
    name: str
    until: str
    """An instant, or `_ALWAYS`."""


def explain(store: Store, district_id: str, kind: str, identifier: str) -> Row:
    """The whole life of every record that goes or went by `identifier` (an identifier or a source key).

    `records`: as of `life_of`. `findings`: those on rows under that identifier that became no record. What could be a
    social security number is masked (rule 5). Raises ConfigurationError when nothing is known.
    """
    entity = _CALLED[kind]
    with store.asking() as read:
        keys = [row["key"] for row in read(_keys_of(entity, district_id, {identifier}))]
        records, left = _lives(read, district_id, entity, keys, {identifier})
        gone = forgotten_as(read, district_id, spellings(entity, {identifier})) if entity is USERS else []
    if gone and not records and not left:
        raise ConfigurationError(
            f"user {masked(identifier)}: was forgotten by run {gone[0]['run_id']}; nothing is known of them any more"
        )
    if not records and not left:
        raise ConfigurationError(
            f"{kind} {masked(identifier)}: district {district_id} has none of that identifier or source key, now or "
            "earlier, and no run remembers a row with it"
        )
    told: Row = all_masked({"entity": entity.name, "id": identifier, "records": [*records.values()], "findings": left})
    return told


def life_of(read: Read, district_id: str, entity: Entity, key: int) -> Row:
    """The whole life of one record, which is there.

    `identifier`, `source_key`, `source`, `status`, `earlier` (`identifier`, `until`), `merged_into` and `merged`
    (identifiers of who is the same person, by a merge that is not undone) and `life`, newest first:
    operations (`operation`, `entity`, `of`, `before`, `after`, `reason`) and findings (`finding`, `severity`, `entity`,
    `column`, `message`), each with `when` (UTC), `run_id`, `outcome`, `answer`, `approved_by`, `comment`, `file`
    and `line`.
    Nothing is masked.
    """
    (present,) = read(_present(entity, district_id, key))
    names = {claim.name for claim in _claims(entity, key, present, read(_history(entity, district_id, key)))}
    # Who else had one of these names decides whose a finding is.
    keys = {key, *(row["key"] for row in read(_keys_of(entity, district_id, names)))} if names else {key}
    records, _ = _lives(read, district_id, entity, sorted(keys, reverse=True), set(), told=key)
    return records[key]


def _lives(
    read: Read, district_id: str, entity: Entity, keys: list[int], names: set[str], told: int | None = None
) -> tuple[dict[int, Row], list[Row]]:
    """Key -> life of the records, of the one that is to be `told` or of all, and findings that are none of theirs."""
    earlier = {key: read(_history(entity, district_id, key)) for key in keys}
    records = {key: read(_present(entity, district_id, key))[0] for key in keys}
    claims = [claim for key in keys for claim in _claims(entity, key, records[key], earlier[key])]
    names = names | {claim.name for claim in claims}
    found = read(_findings(entity, district_id, spellings(entity, names), own=bool(keys)))
    owners = [_owner(entity, row, claims, records) for row in found]
    merges = merges_now(read, district_id) if entity is USERS else {}
    lives = {
        key: {
            **_card(entity, records[key], earlier[key]),
            **_merged(read, district_id, merges, key),
            "life": _newest_first(
                [*_operations(read, district_id, entity, key)],
                [_finding(row) for row, owner in zip(found, owners, strict=True) if owner == key],
            ),
        }
        for key in keys
        if told in {None, key}
    }
    return lives, [_finding(row) for row, owner in zip(found, owners, strict=True) if owner is None]


def _card(entity: Entity, present: Row, earlier: list[Row]) -> Row:
    """Who this is now. A record whose creation was undone has no names of its own."""
    gone = present["status"] == "removed"
    return {
        "identifier": present[str(entity.identifier)],
        "source_key": None if gone else present["source_key"],
        "source": present["source"],
        "status": present["status"],
        "earlier": [{"identifier": row["old_id"], "until": row["changed_at"]} for row in earlier],
    }


def _merged(read: Read, district_id: str, merges: dict[int, int], key: int) -> Row:
    """Into whom somebody was merged, and who was merged into them, by identifier."""

    def name(other: int) -> str | None:
        (found,) = read(_present(USERS, district_id, other))
        return found["user_id"] or _plain(found["source_key"])

    return {
        "merged_into": name(merges[key]) if key in merges else None,
        "merged": [name(gone) for gone, kept in merges.items() if kept == key],
    }


def _newest_first(operations: list[Row], findings: list[Row]) -> list[Row]:
    return sorted([*operations, *findings], key=lambda event: str(event["when"]), reverse=True)


# ---- whose finding ---------------------------------------------------------------------------------------------------


def _claims(entity: Entity, key: int, present: Row, earlier: list[Row]) -> Iterator[_Claim]:
    own = () if present["status"] == "removed" else (present[str(entity.identifier)], _plain(present["source_key"]))
    for name in own:
        if name is not None:
            yield _Claim(key, name, _ALWAYS)
    for row in earlier:
        yield _Claim(key, row["old_id"], row["changed_at"])


def _owner(entity: Entity, finding: Row, claims: list[_Claim], records: dict[int, Row]) -> int | None:
    """The record that the row speaks of: the one that went by this name at the time, of the same kind of person."""
    identifier, source_key = (finding[name] for name in said_columns(entity))
    fitting = [
        claim
        for claim in claims
        if claim.name in {identifier, _plain(source_key)}
        and claim.until >= str(finding["when"])
        and _same_kind(source_key, records[claim.key]["source_key"])
    ]
    return min(fitting, key=lambda claim: claim.until).key if fitting else None


def _plain(source_key: str | None) -> str | None:
    return source_key and re.sub(f"^({'|'.join(KIND_PREFIXES)})", "", source_key)


def _same_kind(one: str | None, other: str | None) -> bool:
    kinds = [key[: len(key) - len(str(_plain(key)))] for key in (one or "", other or "")]
    return "" in kinds or kinds[0] == kinds[1]


def spellings(entity: Entity, names: set[str]) -> list[str]:
    """The source keys that a person may mean with a name: with and without the kind."""
    prefixes = ("", *KIND_PREFIXES) if entity is USERS else ("",)
    return [prefix + name for name in sorted(names) for prefix in prefixes]


# ---- events ----------------------------------------------------------------------------------------------------------


def _operations(read: Read, district_id: str, entity: Entity, key: int) -> Iterator[Row]:
    for row in read(_changes(entity, district_id, key)):
        gone = IMAGE in (row["before_json"], row["after_json"])
        images = (None, "{}") if gone else (row["before_json"], row["after_json"])
        before, after = (json.loads(image) if image else None for image in images)
        if after is None and row["operation"] == "create" and row["entity"] in USUAL_LINKS:
            role = {"role": row["role"]} if row["role"] is not None else {}
            after = {**role, **USUAL_LINKS[row["entity"]], "source": row["source"]}
        yield {
            **_run_of(row),
            "operation": row["operation"],
            "entity": row["entity"],
            "of": row["of"] and row["of"].strip(),
            "before": _with_names(read, district_id, before),
            "after": _with_names(read, district_id, after),
            "reason": (row["reason"] or USUAL_REASON) + (f"; {WHY}" if gone else ""),
            "file": row["file"],
            "line": row["line"],
        }


def _with_names(read: Read, district_id: str, values: Row | None) -> Row | None:
    """A class is told to belong to an organization by the identifier that people know."""
    if not values or values.get("organization_key") is None:
        return values
    (school,) = read(_present(ORGANIZATIONS, district_id, values["organization_key"]))
    named = school["organization_id"] or _plain(school["source_key"])
    return {"organization_id" if name == "organization_key" else name: value for name, value in values.items()} | {
        "organization_id": named
    }


def _finding(row: Row) -> Row:
    told = ("severity", "entity", "message", "file", "line")
    return {**_run_of(row), "finding": row["code"], "column": row["column_name"], **{name: row[name] for name in told}}


def _run_of(row: Row) -> Row:
    return {name: row[name] for name in ("when", "run_id", "outcome", "answer", "approved_by", "comment")}


# ---- for a person ----------------------------------------------------------------------------------------------------


def lines(told: Row, zone: ZoneInfo) -> Iterator[tuple[str, str]]:
    """What `explain` returned as text: style (a name that rich knows, or nothing) and line."""
    kind = BY_NAME[told["entity"]].singular
    for record in told["records"]:
        yield "bold", f"{kind} {record['identifier'] or record['source_key'] or '(no identifier)'}: {_standing(record)}"
        for name in record["earlier"]:
            yield "", f"  was {name['identifier']} until {_local(name['until'], zone)}"
        if record["merged_into"]:
            yield "", f"  is one person with {record['merged_into']}, into whose record it was merged"
        yield from (
            ("", f"  {gone} is the same person, whose record was merged into this one") for gone in record["merged"]
        )
        yield from ((_style(event), f"  {_line(event, zone)}") for event in record["life"])
    if told["findings"]:
        yield "bold", f"{kind} {told['id']}: rows that became no record"
        yield from ((_style(event), f"  {_line(event, zone)}") for event in told["findings"])
    yield "", f"All times are those of {zone}."


def _standing(record: Row) -> str:
    if record["status"] == "removed":
        return "taken out again, the run that created it was undone"
    return f"{record['status']}, from {record['source']} under {record['source_key']}"


def _style(event: Row) -> str:
    return "yellow" if "finding" in event else ""


def _line(event: Row, zone: ZoneInfo) -> str:
    why = f": {event['comment']}" if event["comment"] else ""
    person = f", {answered(event['answer'], event['approved_by'])}{why}" if event["approved_by"] else ""
    run = f"{_local(event['when'], zone)}  run {event['run_id']} ({event['outcome']}{person}):"
    place = f"line {event['line']} of {event['file']}" if event["file"] else ""
    if "finding" in event:
        verb = "rejected" if event["severity"] == "critical" else "set aside"
        column = f" {event['column']}" if event["column"] else ""
        return f"{run} {verb} on {place or 'no line'}: {event['finding']}{column}: {event['message']}"
    of = f" {event['entity']} {event['of']}" if event["of"] else ""
    changes = ", ".join(_changes_told(event))
    return f"{run} {event['operation']}{of}: {changes} ({event['reason']}{f', {place}' if place else ''})"


def _changes_told(event: Row) -> Iterator[str]:
    before, after = event["before"], event["after"] or {}
    for name, value in after.items():
        yield f"{name} {_word(value)}" if before is None else f"{name} {_word(before.get(name))} -> {_word(value)}"


def _word(value: Any) -> str:
    """A value as JSON spells it, so that nothing and an empty text differ."""
    return json.dumps(value, ensure_ascii=False)


def _local(instant: str, zone: ZoneInfo) -> str:
    return f"{datetime.fromisoformat(instant).astimezone(zone):%Y-%m-%d %H:%M}"


# ---- statements ------------------------------------------------------------------------------------------------------


def _keys_of(entity: Entity, district_id: str, names: set[str]) -> Select[Any]:
    """Records that have one of the names as identifier or source key, and records that had it as identifier once."""
    base = BASE[entity.name]
    source_keys = and_(base.c.source.in_(sources()), base.c.source_key.in_(spellings(entity, names)))
    now = (
        select(base.c[str(entity.key)].label("key"))
        .where(base.c.district_id == district_id)
        .where(or_(base.c[str(entity.identifier)].in_(names), source_keys))
    )
    once = (
        select(IDENTIFIER_HISTORY.c.entity_key)
        .where(IDENTIFIER_HISTORY.c.district_id == district_id, IDENTIFIER_HISTORY.c.entity == entity.name)
        .where(IDENTIFIER_HISTORY.c.old_id.in_(names))
    )
    found = union(now, once).subquery()
    return select(found.c.key).order_by(found.c.key.desc())


def _present(entity: Entity, district_id: str, key: int) -> Select[Any]:
    base = BASE[entity.name]
    columns = [base.c[name] for name in columns_of(entity)]
    return select(*columns).where(base.c.district_id == district_id, base.c[str(entity.key)] == key)


def _history(entity: Entity, district_id: str, key: int) -> Select[Any]:
    table = IDENTIFIER_HISTORY
    return (
        select(table.c.old_id, table.c.changed_at)
        .where(table.c.district_id == district_id, table.c.entity == entity.name, table.c.entity_key == key)
        .order_by(table.c.changed_at.desc())
    )


def _run_columns() -> list[ColumnElement[Any]]:
    when = func.coalesce(RUNS.c.ended_at, RUNS.c.started_at).label("when")
    return [when, RUNS.c.run_id, RUNS.c.outcome, RUNS.c.answer, RUNS.c.approved_by, RUNS.c.comment, RUNS.c.source]


def _changes(entity: Entity, district_id: str, key: int) -> Select[Any]:
    """A person's memberships and enrollments too, with the organization's or class's name."""
    told = ("entity", "operation", "role", "before_json", "after_json", "reason", "line")
    links = ("memberships", "enrollments") if entity is USERS else ()
    audit = audit_of(*links)
    ends = [BASE[name] for name in ("organizations", "classes")]
    named = [func.coalesce(end.c[str(BY_NAME[end.name].identifier)], end.c.source_key) for end in ends]
    # Each change has a run; an outer join keeps SQLite from asking run by run for the record's changes.
    joined = audit.outerjoin(
        RUNS, (RUNS.c.district_id == audit.c.district_id) & (RUNS.c.state_after == audit.c.state_after)
    )
    for end in ends:
        end_key = str(BY_NAME[end.name].key)
        same = (end.c.district_id == audit.c.district_id) & (end.c[end_key] == audit.c[end_key])
        joined = joined.outerjoin(end, same & audit.c.entity.in_(links))
    return (
        select(*_run_columns(), *(audit.c[name] for name in told), file_of(audit), func.coalesce(*named).label("of"))
        .select_from(joined)
        .where(audit.c.district_id == district_id, audit.c[str(entity.key)] == key, audit.c.state_after.is_not(None))
        .where(audit.c.entity.in_((entity.name, *links)))
        .order_by(audit.c.state_after.desc(), audit.c.sequence.desc())
    )


def _findings(entity: Entity, district_id: str, names: list[str], *, own: bool) -> Select[Any]:
    """Findings on rows that go by one of the names.

    A school's or class's name stands on the lines of its people too: they tell why it is not there, but are no part of
    the life of one that is (`own`).
    """
    told = ("code", "severity", "entity", "column_name", "message", "file", "line", *said_columns(entity))
    same_run = (RUNS.c.district_id == FINDINGS.c.district_id) & (RUNS.c.run_id == FINDINGS.c.run_id)
    query = (
        select(*_run_columns(), *(FINDINGS.c[name] for name in told))
        .join_from(FINDINGS, RUNS, same_run)
        .where(FINDINGS.c.district_id == district_id)
        .where(or_(*(FINDINGS.c[name].in_(names) for name in said_columns(entity))))
        .order_by(RUNS.c.started_at.desc(), FINDINGS.c.sequence)
        .limit(_MOST_FINDINGS)
    )
    about = (entity.name, ID_CHANGES.name)
    return query.where(FINDINGS.c.entity.in_(about)) if own and entity is not USERS else query
