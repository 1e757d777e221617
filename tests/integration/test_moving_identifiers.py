"""Rule 9(b) as a whole: identifiers that are given up and taken in one delivery, by rows alone.

Every case is a family of its own in one district, so that two nights tell of all of them.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nightly import other
from reconciling import Planned, Roster

Row = dict[str, str]
TAKEN, RECYCLED, AMBIGUOUS = "PLAN-REIDENTIFY-TAKEN", "PLAN-RECYCLED", "PLAN-AMBIGUOUS"
MOVES, NEW = "reidentify", "create"

ANN, BO, CY = other(1), other(2), other(3)
TOM = other(4, userLastName="Twin", userBirthDate="2014-07-07")
TIM = other(5, userLastName="Twin", userBirthDate="2014-07-07")
FAMILY = (ANN, BO, CY, TOM, TIM)
NINA = other(9)
SISTER = other(9, userLastName=ANN["userLastName"])
"""Of Ann: rule 10 would not call her another person."""


def under(identifier: str, row: Row, **values: str) -> Row:
    """The row of the same person under another identifier."""
    return {**row, "userId": identifier, **values}


@dataclass(frozen=True)
class Case:
    """What a delivery says of a family, and what becomes of it."""

    rows: tuple[Row, ...]
    outcome: tuple[str | None, ...]
    """Of each row: an operation, or the code for which it waits; None: nothing."""
    rejected: str | None = None
    """The identifier of a row that some check rejects."""
    complete: bool = False
    """Whether the others of the family have their rows as ever."""


CASES = {
    "given up for somebody new": Case((under("u8", ANN), under("u1", NINA)), (MOVES, NEW)),
    "given up for a sister": Case((under("u8", ANN), under("u1", SISTER)), (MOVES, NEW)),
    "swap": Case((under("u2", ANN), under("u1", BO)), (MOVES, MOVES), complete=True),
    "swap of twins": Case((under("u5", TOM), under("u4", TIM)), (MOVES, MOVES)),
    "cycle": Case((under("u2", ANN), under("u3", BO), under("u1", CY)), (MOVES, MOVES, MOVES)),
    "chain": Case((under("u2", ANN), under("u3", BO), under("u8", CY)), (MOVES, MOVES, MOVES), complete=True),
    "chain for somebody new": Case((under("u2", ANN), under("u8", BO), under("u1", NINA)), (MOVES, MOVES, NEW)),
    "half a swap": Case((under("u2", ANN),), (TAKEN,)),
    "half a swap of twins": Case((under("u5", TOM),), (TAKEN,)),
    "a chain whose end is kept": Case((under("u2", ANN), under("u3", BO)), (TAKEN, TAKEN)),
    "somebody new before a chain whose end is kept": Case((under("u2", ANN), under("u1", NINA)), (TAKEN, RECYCLED)),
    "a sister before a chain whose end is kept": Case((under("u2", ANN), under("u1", SISTER)), (TAKEN, TAKEN)),
    "almost a swap": Case((under("u2", ANN, userGrade="6"), under("u1", BO)), (AMBIGUOUS, TAKEN)),
    "almost a swap of twins": Case((under("u5", TOM, userGrade="6"), under("u4", TIM)), (AMBIGUOUS, TAKEN)),
    "two candidates": Case((under("u7", ANN), under("u8", ANN), under("u1", NINA)), (AMBIGUOUS, AMBIGUOUS, RECYCLED)),
    "two candidates and a sister": Case(
        (under("u7", ANN), under("u8", ANN), under("u1", SISTER)), (AMBIGUOUS, AMBIGUOUS, AMBIGUOUS)
    ),
    "there under the old identifier as well": Case((ANN, under("u2", ANN)), (None, RECYCLED)),
    "there and somebody new": Case((under("u8", ANN), ANN), (NEW, None)),
    "somebody new": Case((under("u1", NINA),), (RECYCLED,)),
    "a swap with a rejected row": Case((under("u2", ANN), under("u1", BO)), (None, AMBIGUOUS), rejected="u2"),
    "given up beside a rejected row": Case((under("u8", ANN), under("u1", NINA)), (AMBIGUOUS, None), rejected="u1"),
    "of another name, as everything else": Case((under("u1", ANN, userLastName="Married"),), ("update",)),
    "another kind of person": Case((under("u2", ANN, userRole="teacher"), under("u1", BO)), (AMBIGUOUS, TAKEN)),
}


def of_family(number: int, row: Row) -> Row:
    """The row with names and identifiers of that family."""
    own = {name: f"{row[name]}x{number}" for name in ("userId", "userFirstName", "userLastName")}
    return {**row, **own, "userEmail": f"{number}.{row['userEmail']}", "classId": f"C{number}"}


@dataclass(frozen=True)
class Nights:
    """A district before and after the delivery of all cases."""

    before: Roster
    planned: Planned
    after: Roster
    other_order: str
    """The id of the plan for the same rows in another order."""
    again: Planned
    """The same delivery once more."""


@pytest.fixture(scope="module", params=["delta", "snapshot"])
def nights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """All cases in one delivery."""
    roster = Roster(tmp_path_factory.mktemp(request.param), mode=request.param)
    roster.night([of_family(number, row) for number in range(len(CASES)) for row in FAMILY])
    before = copy.deepcopy(roster)
    rows, rejected = [], []
    for number, case in enumerate(CASES.values()):
        named = {row["userFirstName"] for row in case.rows}
        rest = [row for row in FAMILY if case.complete and row["userFirstName"] not in named]
        rows += [of_family(number, row) for row in (*case.rows, *rest)]
        rejected += [f"{case.rejected}x{number}"] * bool(case.rejected)
    other_order = roster.plan(rows[::-1], rejected).plan.plan_id
    planned = roster.night(rows, rejected)
    return Nights(before, planned, roster, other_order, roster.plan(rows, rejected))


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Iterator[tuple[int, Case]]:
    """Number and contents of each case."""
    return list(CASES).index(request.param), CASES[request.param]


def test_each_row_is_explained_or_waits_as_rule_9_says(nights: Nights, case: tuple[int, Case]) -> None:
    number, told = case
    assert [nights.planned.outcome(f"{row['userId']}x{number}") for row in told.rows] == list(told.outcome)


def test_who_moves_keeps_key_and_classes_and_where_a_row_waits_nobody_changes(
    nights: Nights, case: tuple[int, Case]
) -> None:
    number, told = case
    before, after = nights.before.people(), nights.after.people()
    keys = dict(before.values())
    for row, outcome in zip(told.rows, told.outcome, strict=True):
        identifier = f"{row['userId']}x{number}"
        if outcome == MOVES:
            name, key = after[identifier]
            assert name == f"{row['userFirstName']}x{number}" and key == keys[name]
        elif outcome in {TAKEN, RECYCLED, AMBIGUOUS}:
            # The same, or nobody under a new identifier.
            assert after.get(identifier) == before.get(identifier)
            spoken_of = f"{row['userFirstName']}x{number}"
            assert spoken_of not in keys or (spoken_of, keys[spoken_of]) in after.values()
    stay = {key for _, key in after.values()}
    assert {pair for pair in nights.before.attending() if pair[1] in stay} <= nights.after.attending()


def test_row_order_does_not_matter_and_the_same_delivery_changes_nothing_more(nights: Nights) -> None:
    assert nights.other_order == nights.planned.plan.plan_id
    assert nights.again.plan.operations == 0
    assert nights.again.held == nights.planned.held


# ---- other kinds of records -----------------------------------------------------------------------------------------


def attending(class_id: str, people: range, **values: str) -> list[Row]:
    """Rows of the students of one class."""
    told = {"className": "Math", "course": "M1", "period": "1", "term": "Fall", **values}
    return [other(number, classId=class_id, **told) for number in people]


MATH, ART, MUSIC = range(1, 8), range(8, 15), range(15, 22)
SCHEDULED = [*attending("C1", MATH), *attending("C2", ART, period="2"), *attending("C3", MUSIC, period="3")]


@pytest.mark.parametrize(("rows", "moved"), [
    pytest.param([*attending("C2", MATH), *attending("C1", ART, period="2")], {"C2": MOVES, "C1": MOVES}, id="swap"),
    pytest.param([*attending("C9", MATH), *attending("C1", range(30, 37), className="Chess", period="4")],
                 {"C9": MOVES, "C1": NEW}, id="given up for a new class"),
    pytest.param([*attending("C2", MATH)], {}, id="half a swap"),
    pytest.param([*attending("C1", MATH, period="2"), *attending("C2", ART, period="3"),
                  *attending("C3", MUSIC, period="1")], {"C1": "update", "C2": "update", "C3": "update"},
                 id="the same people at other times"),
    pytest.param([*attending("C1", MATH, className="Maths"), *attending("C9", range(1, 3))],
                 {"C1": "update", "C9": NEW}, id="another name, and a class of a few of its people"),
])  # fmt: skip
def test_which_class_a_row_is_its_people_tell(tmp_path: Path, rows: list[Row], moved: dict[str, str]) -> None:
    roster = Roster(tmp_path)
    roster.night(SCHEDULED)
    enrolled = roster.attending()
    planned = roster.night(rows)
    assert planned.done("classes") == moved
    assert enrolled <= roster.attending()
    assert roster.plan(rows).plan.operations == 0


@pytest.mark.parametrize(("places", "moved", "members"), [
    pytest.param([("S2", "North", MATH), ("S1", "South", ART)], {"S1": MOVES, "S2": MOVES}, 0, id="swap"),
    pytest.param([("S9", "North", MATH), ("S1", "Middle", range(30, 37)), ("S2", "South", ART)],
                 {"S9": MOVES, "S1": NEW}, 7, id="given up for a new school"),
    pytest.param([("S1", "North High", range(1, 6)), ("S9", "North", range(6, 8)), ("S2", "South", ART)],
                 {"S1": "update", "S9": NEW}, 2, id="another name, and a new school for a few"),
])  # fmt: skip
def test_which_school_a_row_is_its_people_tell(
    tmp_path: Path, places: list[tuple[str, str, range]], moved: dict[str, str], members: int
) -> None:
    def rows(told: list[tuple[str, str, range]]) -> list[Row]:
        return [other(n, schoolId=one, schoolName=name, classId=f"C{n}") for one, name, people in told for n in people]

    roster = Roster(tmp_path, mode="snapshot")
    roster.night(rows([("S1", "North", MATH), ("S2", "South", ART)]))
    planned = roster.night(rows(places))
    assert planned.done("organizations") == moved
    created = [row for row in planned.operations["memberships"] if row["operation"] == NEW]
    assert len(created) == members


def test_a_student_may_take_the_number_that_a_student_gives_up_though_a_teacher_has_it(tmp_path: Path) -> None:
    roster = Roster(tmp_path, source="clever", mode="snapshot")
    roster.night([ANN, BO])
    keys = roster.people()
    planned = roster.night([under("u2", ANN), under("u1", BO)])
    assert planned.done() == {"u1": MOVES, "u2": MOVES}
    assert roster.people() == {"u2": keys["u1"], "u1": keys["u2"]}
    # What both bring, neither gets; then nobody gives anything up.
    roster.night([ANN, BO])
    planned = roster.plan([under("u2", ANN), under("u1", BO), under("u2", CY, userRole="teacher")])
    assert set(planned.held) == {(TAKEN, "u1"), (TAKEN, "u2")}


def test_an_inactive_record_keeps_its_identifier(tmp_path: Path) -> None:
    roster = Roster(tmp_path, mode="snapshot")
    roster.night([ANN, BO, CY])
    roster.night([ANN, CY])
    assert roster.plan([under("u2", ANN), CY]).outcome("u2") == TAKEN
    assert roster.plan([under("u2", ANN), under("u1", BO), CY]).held == [(TAKEN, "u2"), (AMBIGUOUS, "u1")][::-1]


def test_what_may_be_released_is_somebody_new_and_not_half_a_swap(tmp_path: Path) -> None:
    roster = Roster(tmp_path, release=True)
    roster.night([ANN, BO, CY, TOM])
    planned = roster.night([under("u2", ANN), under("u1", NINA), under("u3", SISTER, userLastName="New")])
    assert planned.held == [(TAKEN, "u1"), (TAKEN, "u2")]
    assert roster.people()["u3"][0] == SISTER["userFirstName"]


def test_a_file_whose_identifiers_are_off_by_one_line_waits_whole(tmp_path: Path) -> None:
    roster = Roster(tmp_path, mode="snapshot")
    people = [other(number) for number in range(400)]
    roster.night(people)
    before = roster.people()
    planned = roster.night([under(next_one["userId"], one) for one, next_one in itertools.pairwise(people)])
    assert {code for code, _ in planned.held} == {TAKEN}
    assert len(planned.held) == 399 and roster.people() == before


# ---- any mixture, beside the rule in plain words --------------------------------------------------------------------

IDENTIFIERS = tuple(row["userId"] for row in FAMILY)
FREE = ("u7", "u8")
STRONG = ("userBirthDate", "userEmail")


def same(row: Row, record: Row, *names: str) -> bool:
    return all(row[name] == record[name] for name in names)


def near(row: Row, record: Row) -> bool:
    named = same(row, record, "userFirstName", "userLastName")
    return named and any(same(row, record, name) for name in STRONG)


def stranger(row: Row, record: Row) -> bool:
    """Two people: no strong value is the same, or rule 10 says so."""
    return not any(same(row, record, name) for name in STRONG) or another(row, record)


def another(row: Row, record: Row) -> bool:
    """Rule 10."""
    names = not same(row, record, "userFirstName") and not same(row, record, "userLastName")
    return names and not same(row, record, *STRONG)


def unlike(row: Row, record: Row) -> bool:
    return not same(row, record, "userFirstName", "userLastName") or stranger(row, record)


def fits(row: Row, record: Row) -> bool:
    return under("", row) == under("", record)


@dataclass
class Rule9:
    """Rules 9b and 10 for one delivery, row by row."""

    records: list[Row]
    rows: list[Row]

    def __post_init__(self) -> None:
        self.holder = {record["userId"]: record for record in self.records}
        self.row = {row["userId"]: row for row in self.rows}
        pairs = [(row, record) for row in self.rows for record in self.records if self._possible(row, record)]
        self.leaving = [row["userId"] for row in self.rows if self._leaves(row, pairs)]
        self.pairs = [(row, record) for row, record in pairs if self._counts(row) and self._counts_for(record)]

    def _possible(self, row: Row, record: Row) -> bool:
        mine, own = self.holder.get(row["userId"]), self.row.get(record["userId"])
        seeks = mine is None or unlike(row, mine)
        missed = own is None or unlike(own, record)
        return seeks and missed and near(row, record) and record is not mine

    def _leaves(self, row: Row, pairs: list[tuple[Row, Row]]) -> bool:
        mine = self.holder.get(row["userId"])
        fitting = [(one, record) for one, record in pairs if fits(one, record)]
        is_fitted = any(record is mine for _, record in fitting)
        return mine is not None and unlike(row, mine) and (
            stranger(row, mine) or is_fitted or any(one is row for one, _ in fitting)
        )  # fmt: skip

    def _counts(self, row: Row) -> bool:
        return row["userId"] not in self.holder or row["userId"] in self.leaving

    def _counts_for(self, record: Row) -> bool:
        return record["userId"] not in self.row or record["userId"] in self.leaving

    def outcomes(self) -> dict[str, str | None]:
        """Identifier of a row -> what becomes of it."""
        person = {row["userId"]: self._person(row) for row in self.rows}
        found = {record["userId"] for record in person.values() if isinstance(record, dict)}
        outcome = {row["userId"]: self._first(row, person[row["userId"]], found) for row in self.rows}
        gives_up = {
            record["userId"]: identifier
            for identifier, record in person.items()
            if isinstance(record, dict) and outcome[identifier] == MOVES
        }
        moved = True
        while moved:
            moved = False
            for row in self.rows:
                identifier = row["userId"]
                kept = identifier in self.holder and outcome.get(gives_up.get(identifier, "")) != MOVES
                if kept and outcome[identifier] in {MOVES, NEW}:
                    moved = True
                    recycled = another(row, self.holder[identifier]) and outcome[identifier] == NEW
                    outcome[identifier] = RECYCLED if recycled else TAKEN
        return outcome

    def _person(self, row: Row) -> Row | str | None:
        """The record that the row is, `AMBIGUOUS`, or None."""
        mine = [record for one, record in self.pairs if one is row]
        if not mine:
            return None
        rivals = [one for one, record in self.pairs if record is mine[0]]
        return mine[0] if len(mine) == len(rivals) == 1 and fits(row, mine[0]) else AMBIGUOUS

    def _first(self, row: Row, person: Row | str | None, found: set[str]) -> str | None:
        """As if nothing were kept."""
        holder = self.holder.get(row["userId"])
        if person is not None:
            return MOVES if isinstance(person, dict) else AMBIGUOUS
        if holder is None or another(row, holder) or holder["userId"] in found:
            return NEW
        if unlike(row, holder) and any(record is holder for _, record in self.pairs):
            return AMBIGUOUS
        return None if row == holder else "update"


def row_of(data: tuple[int, str, str]) -> Row:
    """Somebody of the family or somebody new, under some identifier, as they were or not quite."""
    who, identifier, change = data
    row = under(identifier, (*FAMILY, NINA, SISTER)[who])
    return row | {"grade": {"userGrade": "6"}, "email": {"userEmail": "new@demo.example"}}.get(change, {})


said = st.tuples(
    st.integers(0, len(FAMILY) + 1),
    st.sampled_from((*IDENTIFIERS, *FREE)),
    st.sampled_from(("", "", "", "", "grade", "email")),
)
shifts = st.permutations(range(len(FAMILY))).map(
    lambda order: [(who, IDENTIFIERS[place], "") for place, who in enumerate(order)]
)
families = st.one_of(
    st.lists(said, max_size=6, unique_by=lambda one: one[1]),
    st.tuples(shifts, said).map(lambda both: list({one[1]: one for one in (*both[0], both[1])}.values())),
    st.tuples(shifts, st.integers(0, 4)).map(lambda both: both[0][: both[1]]),
)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["delta", "snapshot"])
@settings(max_examples=2, deadline=None, derandomize=True, phases=[Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
@given(told=st.lists(families, min_size=60, max_size=60), data=st.data())
def test_any_mixture_of_moves_ends_as_the_rule_says_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, mode: str, told: list[list[tuple[int, str, str]]], data: st.DataObject
) -> None:
    roster = Roster(tmp_path_factory.mktemp("any"), mode=mode)
    records = [[of_family(number, row) for row in FAMILY] for number in range(len(told))]
    roster.night([row for family in records for row in family])
    before, attending = roster.people(), roster.attending()
    delivered = [[of_family(number, row_of(one)) for one in rows] for number, rows in enumerate(told)]
    rows = [row for family in delivered for row in family]
    expected: dict[str, str | None] = {}
    for family, brought in zip(records, delivered, strict=True):
        expected |= Rule9(family, brought).outcomes()
    shuffled = roster.plan(data.draw(st.permutations(rows)))
    planned = roster.night(rows)
    assert {identifier: planned.outcome(identifier) for identifier in expected} == expected
    assert shuffled.plan.plan_id == planned.plan.plan_id
    assert roster.plan(rows).plan.operations == 0
    keys = {name: key for name, key in before.values()}
    after = roster.people()
    for row in rows:
        if expected[row["userId"]] == MOVES:
            assert after[row["userId"]] == (row["userFirstName"], keys[row["userFirstName"]])
    stay = {key for _, key in after.values()}
    assert {pair for pair in attending if pair[1] in stay} <= roster.attending()
