"""The tables and views that reconciling makes on its way: what each is called, which columns it has, what it says.

A row is what the batch says, a record what the roster has. Names and columns are plain words of SQL, so that nothing
needs quotation marks; a test holds what is created against this list.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import BigInteger, Boolean

from enrollsync.database.schema import columns_of, link_keys, primary_key, typed_column
from enrollsync.words.canonical import ENROLLMENTS, ENTITIES, MEMBERSHIPS, USERS, Entity

_OPERATION = "operation VARCHAR, file VARCHAR, line BIGINT, reason VARCHAR, explicit BOOLEAN"
"""`reason` is NULL where the batch says so; `explicit`: a row asks for it."""
_SAID = "file VARCHAR, line BIGINT, lines BIGINT, files VARCHAR[], kept VARCHAR[]"
"""Where a row was said, see `accept.records`."""
_LINE = """line BIGINT, old_id VARCHAR, new_id VARCHAR, key BIGINT, source_key VARCHAR, new_source_key VARCHAR,
    source VARCHAR, taker BIGINT, taker_source VARCHAR, taker_source_key VARCHAR, taker_new_source_key VARCHAR,
    has_it BOOLEAN, taker_leaves BOOLEAN"""

RECORDS = tuple(entity for entity in ENTITIES if entity.key)
LINKS = tuple(entity for entity in ENTITIES if not entity.key)
COMPARED = (ENROLLMENTS,)
"""Links of which both sides are read in one pass. Which membership is the primary one is told later, by what goes."""
_ALONE: tuple[Entity | None, ...] = (None,)


@dataclass(frozen=True)
class Relation:
    """A table or view, or one for each of some entities."""

    name: str
    """With `{entity}` where there are several: `{entity}_held` is `users_held`."""
    columns: str
    """As in CREATE TABLE. `{row}`: the base table's; `{given}`, `{values}`, `{identity}`: the entity's own, as text;
    `{keys}`: the primary key; `{ends}`: keys of what it links to; `{named}`: how a row names itself and its links."""
    says: str
    entities: tuple[Entity | None, ...] = ENTITIES
    """The entities that have one."""

    def full_name(self, entity: Entity | None) -> str:
        """What it is called: `users_held`."""
        return self.name.format(entity=entity and entity.name, identifier=entity and entity.identifier)

    def full_columns(self, entity: Entity | None) -> str:
        """Its columns and their types."""
        if entity is None:
            return self.columns
        filled = self.columns.format(
            row=_typed(*columns_of(entity)),
            keys=_typed(*primary_key(entity)),
            ends=_typed(*link_keys(entity)),
            given=_texts(*entity.columns),
            values=_texts(*entity.values),
            identity=_texts(*entity.identity),
            named=_texts(*dict.fromkeys((*entity.identity, *entity.links))),
            identifier=entity.identifier,
        )
        return filled.removesuffix(", ")


def _typed(*names: str) -> str:
    kinds = {BigInteger: "BIGINT", Boolean: "BOOLEAN"}
    return ", ".join(f"{name} {kinds.get(type(typed_column(name).type), 'VARCHAR')}" for name in names)


def _texts(*names: str) -> str:
    return ", ".join(f"{name} VARCHAR" for name in names)


def empty(name: str, entity: Entity | None = None) -> str:
    """The statement that creates a relation as a table without rows; `name` is what `Relation.name` has."""
    found = next(each for each in RELATIONS if each.name == name and entity in each.entities)
    return f"CREATE TABLE {found.full_name(entity)} ({found.full_columns(entity)})"


RELATIONS: tuple[Relation, ...] = (
    # ---- what there is (`__init__.py`)
    Relation(
        "stored_history",
        "entity VARCHAR, entity_key BIGINT, run_id VARCHAR, old_id VARCHAR, new_id VARCHAR, "
        "changed_at VARCHAR, changed_by VARCHAR",
        "Identifiers that records have lost.",
        _ALONE,
    ),
    Relation(
        "stored_undos",
        "number BIGINT, run_id VARCHAR, first_run VARCHAR, takes_back BOOLEAN",
        "Undos, and which run each takes back or restores.",
        _ALONE,
    ),
    Relation(
        "stored_edits",
        "entity VARCHAR, entity_key BIGINT, state_after BIGINT, before_json VARCHAR, after_json VARCHAR",
        "What persons changed on profile pages, but for what was undone.",
        _ALONE,
    ),
    Relation("stored_merges", "user_key BIGINT, into_key BIGINT", "Who was merged, and into whom.", _ALONE),
    Relation(
        "stored_forgotten",
        "key VARCHAR, mark VARCHAR, user_key BIGINT, state_after BIGINT",
        "Who was forgotten: marks, the district's key that makes them, the state after it (`database/forgotten.py`).",
        _ALONE,
    ),
    # ---- lines of `id_changes.csv` (`renames.py`)
    Relation(
        "id_changes",
        "entity VARCHAR, old_id VARCHAR, new_id VARCHAR, line BIGINT",
        "Lines without a fault of their own, each once.",
        _ALONE,
    ),
    Relation("identifiers_in_lines", "entity VARCHAR, identifier VARCHAR", "All that stands on any line.", _ALONE),
    Relation(
        "lasting_history",
        "entity VARCHAR, entity_key BIGINT, old_id VARCHAR, new_id VARCHAR",
        "The identifiers that records had, but for what was undone.",
        _ALONE,
    ),
    Relation(
        "{entity}_lines", _LINE, "Who has the old identifier of each line, and who (`taker`) the new one.", RECORDS
    ),
    Relation(
        "{entity}_lines_ends", "old_id VARCHAR, last_id VARCHAR", "The line at which each line's chain ends.", RECORDS
    ),
    Relation("{entity}_lines_done", _LINE, "Lines that an earlier run has followed.", RECORDS),
    Relation("{entity}_lines_pending", _LINE, "Lines that are still to be followed.", RECORDS),
    Relation(
        "{entity}_lines_pending_ends", "old_id VARCHAR, last_id VARCHAR", "The same of the pending ones.", RECORDS
    ),
    Relation(
        "{entity}_renames",
        "line BIGINT, old_id VARCHAR, new_id VARCHAR, key BIGINT, source_key VARCHAR, "
        "new_source_key VARCHAR, fate VARCHAR",
        "What becomes of each line: open, done, unknown, taken.",
        RECORDS,
    ),
    Relation(
        "{entity}_in_id_changes",
        "key BIGINT",
        "Records that lines speak of: neither absent nor anybody else's.",
        RECORDS,
    ),
    Relation("{entity}_addressed", "{row}", "All records, under the identifiers that the lines give them.", RECORDS),
    Relation(
        "{entity}_aliases",
        "source_key VARCHAR, new_source_key VARCHAR, old_id VARCHAR, new_id VARCHAR",
        "Old identifiers that rows still say, beyond doubt.",
        RECORDS,
    ),
    # ---- what persons have changed (`edits.py`)
    Relation(
        "{entity}_edited",
        "source_key VARCHAR, new_source_key VARCHAR, old_id VARCHAR, new_id VARCHAR",
        "Identifiers that rows still say and a person has changed since.",
        RECORDS,
    ),
    Relation(
        "users_edited_values",
        "source_key VARCHAR, user_district_id STRUCT(was VARCHAR, made VARCHAR), "
        "user_state_id STRUCT(was VARCHAR, made VARCHAR)",
        "Secondary IDs that a person gave, and what was there before.",
        _ALONE,
    ),
    # ---- who was merged (`merges.py`)
    Relation(
        "users_merged",
        "source_key VARCHAR, new_source_key VARCHAR, old_id VARCHAR, new_id VARCHAR, key BIGINT",
        "Who was merged, as rows call them, and who is meant.",
        _ALONE,
    ),
    Relation("{entity}_doubled", "{identity}", "Rows that say once more what is said of who was kept."),
    # ---- which row is which record (`matching.py`)
    Relation("stored_{entity}", "{row}", "The roster as it is, with what an undo has removed."),
    Relation("db_{entity}", "{row}", "The roster as it is."),
    Relation("{entity}_accepted", _SAID + ", {given}", "Rows that may load."),
    Relation("{entity}_delivered", "{identity}", "The identity of every row, rejected ones included."),
    Relation("{entity}_aside", "{named}", "Delivered links that do not load as they are.", LINKS),
    Relation(
        "removals",
        "entity VARCHAR, source_key VARCHAR, user_source_key VARCHAR, organization_source_key VARCHAR, "
        "role VARCHAR, class_source_key VARCHAR, file VARCHAR, line BIGINT",
        "What rows of all entities ask to be removed.",
        _ALONE,
    ),
    Relation(
        "{entity}_removals", "{identity}, file VARCHAR, line BIGINT", "The same of one entity, by new identifiers."
    ),
    Relation("{entity}_resolved", _SAID + ", {given}, {ends}", "Accepted rows whose links are found.", RECORDS),
    Relation(
        "{entity}_resolved",
        "{ends}, {values}, status VARCHAR, " + _SAID,
        "Accepted links whose ends are found.",
        (MEMBERSHIPS,),
    ),
    Relation(
        "{entity}_resolved",
        "{keys}, {values}, status VARCHAR, file VARCHAR, line BIGINT, files VARCHAR[], kept VARCHAR[]",
        "The same; how many lines say it decides nothing.",
        (ENROLLMENTS,),
    ),
    Relation(
        "{entity}_compared",
        "{keys}, said BOOLEAN",
        "Links that rows (`said`) or the roster alone have, or that both have otherwise (`alike.py`).",
        COMPARED,
    ),
    Relation(
        "{entity}_dangling",
        "{named}, file VARCHAR, line BIGINT, waits BOOLEAN",
        "Accepted rows that hang on nothing known, or (`waits`) on a row that waits.",
    ),
    Relation(
        "{entity}_held",
        "source_key VARCHAR, code VARCHAR, old_key BIGINT",
        "Rows that wait for a person, and the record that each is about (may be NULL).",
        RECORDS,
    ),
    Relation(
        "users_forgotten",
        "source_key VARCHAR, user_key BIGINT, state_after BIGINT",
        "Rows of people who were forgotten, and the state after that (`forgotten.py`).",
        _ALONE,
    ),
    Relation(
        "{entity}_adopted",
        "source_key VARCHAR, key BIGINT, matched_by VARCHAR",
        "When the primary source is another one: row -> the former one's record (`switching.py`).",
        RECORDS,
    ),
    Relation(
        "{entity}_behind",
        "source_key VARCHAR, {identifier} VARCHAR, {keys}, alike BOOLEAN",
        "Row -> the record behind its key; `alike`: the row says what that is already (`alike.py`).",
        RECORDS,
    ),
    Relation("{entity}_differing", _SAID + ", {given}, {ends}", "Those of `resolved` that are not alike.", RECORDS),
    Relation("{entity}_in_question", "{row}", "The records that no row is alike to.", RECORDS),
    Relation(
        "{entity}_matched",
        "source_key VARCHAR, {identifier} VARCHAR, old_key BIGINT, another BOOLEAN, stranger BOOLEAN, unlike BOOLEAN, "
        "alike BOOLEAN",
        "Row -> the record behind its key, and how little both are alike (`likeness.py`); `alike`: in all.",
        RECORDS,
    ),
    Relation(
        "{entity}_without_row",
        "{keys}, rejected BOOLEAN",
        "This source's records behind the key of no row that may load; `rejected`: of one that may not.",
        RECORDS,
    ),
    Relation("{entity}_absent", "{keys}", "Those that no delivered row speaks of at all.", RECORDS),
    Relation(
        "{entity}_candidates",
        "source_key VARCHAR, {identifier} VARCHAR, old_key BIGINT, rowless BOOLEAN, alike BOOLEAN",
        "Rows that may be planned, and what each changes (NULL: a new record); `rowless`: a rename alone.",
        RECORDS,
    ),
    Relation(
        "{entity}_renamed_alone",
        "key BIGINT, goes BOOLEAN, new_source_key VARCHAR, new_id VARCHAR",
        "Records in `id_changes.csv` of which no row speaks; `goes`: they are renamed all the same.",
        RECORDS,
    ),
    Relation(
        "{entity}_released",
        "key BIGINT, source_key VARCHAR",
        "Records whose identifier passes to somebody else, and the row that takes it.",
        RECORDS,
    ),
    Relation(
        "{entity}_assigned",
        "source_key VARCHAR, old_key BIGINT, {keys}, alike BOOLEAN",
        "Rows that are planned, and the key of each one's record, fresh for a new one (old_key NULL).",
        RECORDS,
    ),
    Relation("{entity}_unplanned", "source_key VARCHAR", "Rows that are not: held or dangling.", RECORDS),
    Relation(
        "{entity}_lookup",
        "source_key VARCHAR, key BIGINT, waits BOOLEAN",
        "Every source key that a row may refer to.",
        RECORDS,
    ),
    # ---- who looks like whom (`likeness.py`)
    Relation(
        "{entity}_open_rows",
        "source_key VARCHAR, own_key BIGINT, stranger BOOLEAN",
        "Rows of no known record, or unlike the one behind their key (`own_key`).",
        RECORDS,
    ),
    Relation(
        "{entity}_open_records",
        "{keys}, free BOOLEAN, rejected BOOLEAN, own_row VARCHAR",
        "Records of no row, or unlike theirs (`own_row`); `free`: another row may be theirs.",
        RECORDS,
    ),
    Relation(
        "{entity}_lookalikes",
        "source_key VARCHAR, old_key BIGINT, near BOOLEAN, alone BOOLEAN, single BOOLEAN",
        "Pairs of an open row and an open record that resemble each other.",
        RECORDS,
    ),
    # ---- who may have which identifier (`taken.py`, `clashes.py`)
    Relation(
        "{entity}_claims",
        "source_key VARCHAR, old_key BIGINT, new_{identifier} VARCHAR, new_source_key VARCHAR",
        "Candidates that bring an identifier or a source key which their record does not have.",
        RECORDS,
    ),
    Relation(
        "{entity}_contested_{identifier}",
        "source_key VARCHAR, holder BIGINT, leaver VARCHAR",
        "Claims to an identifier that a record has, and the row with which it would give that up.",
        RECORDS,
    ),
    Relation(
        "{entity}_contested_source_key",
        "source_key VARCHAR, holder BIGINT, leaver VARCHAR",
        "The same for source keys.",
        RECORDS,
    ),
    Relation(
        "{entity}_chains",
        "source_key VARCHAR, next VARCHAR, kept BOOLEAN",
        "The row on which each claim depends in the end, and whether something is kept there.",
        RECORDS,
    ),
    Relation("{entity}_holders", "{row}", "Records outside of the batch, whose values nobody else may have.", (USERS,)),
    Relation(
        "{entity}_clashes",
        "source_key VARCHAR, field VARCHAR, code VARCHAR",
        "Secondary IDs and emails that somebody outside of the batch has.",
        (USERS,),
    ),
    Relation(
        "{entity}_resolved_with_clashes",
        _SAID + ", {given}",
        "`resolved` before clashing secondary IDs went.",
        (USERS,),
    ),
    # ---- what rows change (`changes.py`)
    Relation(
        "primary_memberships",
        "user_key BIGINT, organization_key BIGINT, role VARCHAR, chosen BOOLEAN",
        "Each person's primary school, and in which role.",
        _ALONE,
    ),
    Relation("{entity}_changes", _OPERATION + ", {row}", "What rows create or change: records as they will be."),
    Relation("{entity}_reidentifications", _OPERATION + ", {row}", "Renamed by a line alone.", RECORDS),
    # ---- what goes (`absence.py`, `doubt.py`)
    Relation(
        "rejected_texts",
        "entity VARCHAR, file VARCHAR, line BIGINT, words VARCHAR[]",
        "Rejected lines, taken apart.",
        _ALONE,
    ),
    Relation(
        "rejected_words",
        "entity VARCHAR, file VARCHAR, line BIGINT, word VARCHAR",
        "Each word on a rejected line, as `engine.folded` has it.",
        _ALONE,
    ),
    Relation(
        "{entity}_word_hits",
        "{keys}, word VARCHAR, entity VARCHAR, file VARCHAR, line BIGINT",
        "Records that such a word names.",
        RECORDS,
    ),
    Relation("{entity}_doubtful", "{keys}", "What a rejected line may mean."),
    Relation(
        "{entity}_lookup_with_history",
        "source_key VARCHAR, key BIGINT",
        "`lookup`, earlier identifiers included.",
        RECORDS,
    ),
    Relation("{entity}_unplanned_pairs", "{keys}", "Links that a row names which is not planned as it stands.", LINKS),
    Relation(
        "{entity}_departures",
        "{keys}, explicit BOOLEAN, file VARCHAR, line BIGINT, reason VARCHAR",
        "What goes, and why.",
    ),
    Relation("{entity}_deactivations", _OPERATION + ", {row}", "The same as records as they will be."),
    Relation(
        "{entity}_remarked",
        _OPERATION + ", {row}",
        "Those of which no row speaks that become a person's primary one, or no longer are.",
        (MEMBERSHIPS,),
    ),
    Relation("{entity}_after", _OPERATION + ", {row}", "Every operation (`plan.py`)."),
    Relation("{entity}_before", "{row}", "The records that operations change, as they are.", RECORDS),
    # ---- what is told of it (`findings.py`, `rekeying.py`)
    Relation(
        "told",
        "code VARCHAR, severity VARCHAR, entity VARCHAR, file VARCHAR, line BIGINT, field VARCHAR, message VARCHAR",
        "Findings of the plan's own.",
        _ALONE,
    ),
    # ---- in which organization a finding is to be mended (`schools.py`)
    Relation(
        "found",
        "number BIGINT, code VARCHAR, severity VARCHAR, entity VARCHAR, row_id BIGINT, file VARCHAR, line BIGINT, "
        "field VARCHAR, message VARCHAR",
        "Every finding on a line, numbered; what only waits for another row left out.",
        _ALONE,
    ),
    Relation(
        "found_rows",
        "number BIGINT, organization_source_key VARCHAR, class_source_key VARCHAR, user_source_key VARCHAR, "
        "user_id VARCHAR, given_name VARCHAR, family_name VARCHAR, class_id VARCHAR",
        "What the row says on which it was found.",
        _ALONE,
    ),
    Relation("found_in", "number BIGINT, organization_key BIGINT", "The organizations that each concerns.", _ALONE),
    Relation(
        "proposed",
        "entity VARCHAR, old_id VARCHAR, new_id VARCHAR, people BIGINT",
        "Changes of identifiers that a person should look at.",
        _ALONE,
    ),
)
"""In the order in which they are made."""
