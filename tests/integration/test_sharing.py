"""Districts that share one PostgreSQL: each role tries what it should not be able to see, write or change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql
from typer.testing import CliRunner

from enrollsync.cli import app
from enrollsync.database import dialects, migrations, open_store
from enrollsync.database.sharing import TABLES, VIEWS, role_of, sharing
from enrollsync.report.explain import explain
from enrollsync.words.errors import ConfigurationError, DatabaseError
from nightly import Nightly, other, student

LOGINS = {
    "office": ("roster_loader",), "lincoln_reads": (role_of("lincoln", "reader"),),
    "lincoln_loads": (role_of("lincoln", "loader"),), "adams_reads": (role_of("adams", "reader"),),
    "stranger": (), "two_read": (role_of("adams", "reader"), role_of("lincoln", "reader")),
}  # fmt: skip
"""Login -> the roles that it is a member of."""
LINCOLN = [student(), other(1, classId="C2"), other(2)]
ADAMS = [student("300", userFirstName="Otto", userEmail="otto@adams.example"), other(7), other(8), other(9)]
NOW = datetime(2026, 11, 24, 7, tzinfo=UTC)


@dataclass
class Shared:
    """One database with two districts in it."""

    folder: Path
    url: str
    query: Any

    def of(self, login: str) -> str:
        return self.url.replace("postgres:@", f"{login}@")

    def connect(self, login: str) -> psycopg.Connection[Any]:
        """A session whose work is forgotten unless it is committed."""
        return psycopg.connect(self.of(login))

    def district(self, name: str, login: str = "office") -> Nightly:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        nightly = Nightly(folder, self.of(login), self.query)
        nightly.settings |= {"district_id": name, "thresholds": {"floor": 1000}}
        return nightly

    def script(self, *options: str) -> str:
        files = [self.district(name).district for name in ("lincoln", "adams")]
        printed = CliRunner().invoke(app, ["database", "roles", *(options or files)])
        assert printed.exit_code == 0, printed.output
        return printed.stdout

    def by_owner(self, *scripts: str | sql.Composed) -> None:
        with psycopg.connect(self.of("roster_owner"), autocommit=True) as connection:
            for script in scripts:
                connection.execute(script)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def shared(postgres_server: str, tmp_path_factory: pytest.TempPathFactory, query: Any) -> Iterator[Shared]:
    """Made by an owner who is no superuser, with a role for each district, and a night in each."""
    with psycopg.connect(postgres_server, autocommit=True) as admin, pytest.MonkeyPatch.context() as patch:
        admin.execute("CREATE ROLE roster_owner LOGIN CREATEROLE")
        admin.execute("CREATE DATABASE shared OWNER roster_owner")
        found = Shared(
            tmp_path_factory.mktemp("shared"), postgres_server.replace("/postgres?", "/shared?"), query
        )  # fmt: skip
        patch.setenv("ENROLLSYNC_HOME", str(found.folder))
        patch.setattr("enrollsync.validate.checking.run_suite", __import__("quicker").plainly)
        open_store(found.of("roster_owner")).migrate()
        found.by_owner(found.script(), found.script())
        for login, roles in LOGINS.items():
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(login)))
            for role in roles:
                grant = sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(login))
                found.by_owner(grant)
        for name, rows in (("lincoln", LINCOLN), ("adams", ADAMS)):
            assert found.district(name).run(rows)["outcome"] == "applied"
            again = found.district(name).run(rows, until="plan")
            assert again["outcome"] == "in_sync", again
            bad = found.district(name)
            bad._numbers = iter(range(50, 60))  # type: ignore[assignment]
            changed = bad.run([*rows, other(30, classId="C4"), {**other(31), "userId": "not ok"}], approve=True)
            assert changed["outcome"] == "applied"
        open_store(found.of("office")).know_findings(
            "lincoln", "ID-CHARSET", None, until=NOW.date(), person="pat", reason="known", now=NOW
        )  # fmt: skip
        yield found
        admin.execute("DROP DATABASE shared WITH (FORCE)")
        for role in [*LOGINS, *_groups(admin), "roster_owner"]:
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def _groups(admin: psycopg.Connection[Any]) -> list[str]:
    return [name for (name,) in admin.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^roster[_:]'")
            if name != "roster_owner"]  # fmt: skip


def counts(connection: psycopg.Connection[Any], relation: str) -> dict[str, int]:
    """District -> rows that the login sees of a table or view."""
    return dict(connection.execute(f"SELECT district_id, count(*) FROM {relation} GROUP BY 1").fetchall())  # type: ignore[arg-type,call-overload]


def refused(connection: psycopg.Connection[Any], statement: str, *kinds: type[Exception]) -> None:
    """The statement ends with one of these errors; what it did is forgotten."""
    with pytest.raises(kinds or errors.InsufficientPrivilege), connection.transaction():
        connection.execute(statement)  # type: ignore[arg-type]


# ---- what is seen ----------------------------------------------------------------------------------------------------


def test_every_table_and_view_of_the_roster_is_ruled(shared: Shared) -> None:
    with shared.connect("roster_owner") as owner:
        relations = owner.execute("""
            SELECT relname, relkind, relrowsecurity, coalesce(reloptions::text LIKE '%security_invoker=true%', false),
                   (SELECT count(*) FROM pg_policy WHERE polrelid = pg_class.oid)
            FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f')
        """).fetchall()
        functions = owner.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace").fetchall()
    tables = {name: (secure, policies) for name, kind, secure, _, policies in relations if kind != "v"}
    assert tables.pop(migrations.VERSION_TABLE) == (False, 0), "it tells of no district"
    assert tables == dict.fromkeys(TABLES, (True, 3))
    assert {name: invoker for name, kind, _, invoker, _ in relations if kind == "v"} == dict.fromkeys(VIEWS, True)
    assert functions == [], "a function of the owner's would see all rows"


@pytest.mark.parametrize("login", ["lincoln_reads", "lincoln_loads"])
def test_a_districts_role_sees_all_of_its_rows_and_no_other_of_any_table_or_view(shared: Shared, login: str) -> None:
    with shared.connect("roster_owner") as owner, shared.connect(login) as own:
        filled = 0
        for relation in (*TABLES, *VIEWS):
            every = counts(owner, relation)
            filled += len(every) == 2
            assert counts(own, relation) == {name: rows for name, rows in every.items() if name == "lincoln"}, relation
        assert filled >= 16


def test_a_login_with_two_districts_sees_both_and_one_with_none_nothing(shared: Shared) -> None:
    with shared.connect("two_read") as both, shared.connect("stranger") as stranger:
        assert set(counts(both, "roster_users")) == {"lincoln", "adams"}
        for relation in (*TABLES, *VIEWS):
            refused(stranger, f"SELECT FROM {relation}")


TRICKS = {
    "a setting of ours": ["SET enrollsync.district = 'adams'", "SET app.district_id = 'adams'"],
    "a setting of the session's": ["SELECT set_config('search_path', 'pg_temp, public', false)"],
    "a view of one's own": ["CREATE TEMP VIEW mine AS SELECT * FROM public.users"],
    "a table in the way": ["CREATE TEMP TABLE organizations AS SELECT * FROM public.organizations"],
}  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("login", ["lincoln_reads", "lincoln_loads"])
def test_nothing_that_a_session_can_set_or_make_shows_another_district(shared: Shared, login: str, trick: str) -> None:
    with shared.connect(login) as own:
        for statement in TRICKS[trick]:
            own.execute(statement)  # type: ignore[arg-type]
        seen = ["users", "roster_users", "roster_memberships", *(["mine"] if "CREATE TEMP VIEW" in statement else [])]
        for relation in seen:
            assert set(counts(own, relation)) == {"lincoln"}
        own.rollback()


@pytest.mark.parametrize("statement", [
    'SET ROLE "roster:adams:reader"', "SET ROLE roster_loader", "SET ROLE roster_owner",
    "SET SESSION AUTHORIZATION roster_owner", "ALTER ROLE lincoln_reads BYPASSRLS",
    'GRANT "roster:adams:reader" TO lincoln_reads',
])  # fmt: skip
def test_a_districts_login_becomes_nobody_else(shared: Shared, statement: str) -> None:
    for login in ("lincoln_reads", "lincoln_loads"):
        with shared.connect(login) as own:
            refused(own, statement)


def test_to_turn_the_rules_off_ends_in_an_error_and_not_in_all_rows(shared: Shared) -> None:
    with shared.connect("lincoln_reads") as own:
        own.execute("SET row_security = off")
        for relation in (*TABLES, *VIEWS):
            refused(own, f"SELECT FROM {relation}")


def test_a_function_that_tells_what_it_is_given_is_given_no_other_districts_rows(shared: Shared) -> None:
    told: list[str] = []
    with shared.connect("lincoln_reads") as own:
        own.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
        own.execute("""
            CREATE FUNCTION pg_temp.tell(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
            $$ BEGIN RAISE NOTICE '%', value; RETURN true; END $$""")
        for relation in ("users", "roster_users", "changes", "roster_changes", "search_names", "findings", "runs"):
            own.execute(f"SELECT FROM {relation} WHERE pg_temp.tell(district_id)")  # type: ignore[arg-type,call-overload]
        own.rollback()
    assert set(told) == {"lincoln"}


def test_neither_copies_nor_the_servers_samples_nor_a_search_show_another_district(shared: Shared) -> None:
    with shared.connect("lincoln_reads") as own:
        for relation in TABLES:
            with own.cursor().copy(f"COPY (SELECT * FROM {relation}) TO STDOUT") as rows:  # type: ignore[arg-type]
                assert b"adams" not in b"".join(bytes(part) for part in rows)
        with own.cursor().copy("COPY users TO STDOUT") as rows:
            assert b"Otto" not in b"".join(bytes(part) for part in rows)
        assert own.execute("SELECT count(*) FROM pg_stats WHERE schemaname = 'public'").fetchall() == [(0,)]
        found = own.execute("SELECT name FROM search_names WHERE word IN ('otto', 'leena') ORDER BY 1").fetchall()
        assert found == [("Leena",)]
        refused(own, "SELECT FROM pg_statistic")


# ---- what is written -------------------------------------------------------------------------------------------------


def test_a_reader_writes_nothing_anywhere(shared: Shared) -> None:
    with shared.connect("lincoln_reads") as own:
        for table in TABLES:
            refused(own, f"INSERT INTO {table} (district_id) VALUES ('lincoln')")
            refused(own, f"UPDATE {table} SET district_id = district_id")
            refused(own, f"DELETE FROM {table}")
            refused(own, f"TRUNCATE {table} CASCADE")
            refused(own, f"LOCK TABLE {table} IN EXCLUSIVE MODE")


def test_a_districts_loader_writes_its_own_rows_and_no_others(shared: Shared) -> None:
    with shared.connect("roster_owner") as owner:
        every = {table: counts(owner, table) for table in TABLES}
    with shared.connect("lincoln_loads") as own:
        for table in TABLES:
            updated = own.execute(f"UPDATE {table} SET district_id = district_id").rowcount  # type: ignore[arg-type,call-overload]
            assert updated == every[table].get("lincoln", 0), table
            for statement in (
                f"INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, to_jsonb(own) ||"
                f""" '{{"district_id": "adams"}}')).* FROM {table} AS own LIMIT 1""",
                f"UPDATE {table} SET district_id = 'adams'",
            ):
                if every[table].get("lincoln"):
                    refused(own, statement)
            own.execute(f"DELETE FROM {table} WHERE district_id = 'adams'")  # type: ignore[arg-type,call-overload]
        refused(
            own, "INSERT INTO district_state VALUES ('adams', 1) ON CONFLICT (district_id) DO UPDATE SET version = 9"
        )
        refused(own, "INSERT INTO district_state VALUES ('nobody yet', 1)")
        refused(
            own, "INSERT INTO enrollments SELECT 'lincoln', class_key, 4 + max(user_key) OVER (), role, is_primary,"
            " status, source FROM enrollments LIMIT 1", errors.ForeignKeyViolation,
        )  # fmt: skip
        own.rollback()
    with shared.connect("roster_owner") as owner:
        assert {table: counts(owner, table) for table in TABLES} == every


@pytest.mark.parametrize("login", ["office", "lincoln_loads"])
def test_no_loader_alters_anything(shared: Shared, login: str) -> None:
    with shared.connect(login) as own:
        for table in TABLES:
            for statement in (
                "ALTER TABLE {} ADD COLUMN more text", "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
                "DROP TABLE {} CASCADE", "TRUNCATE {} CASCADE", "CREATE POLICY mine ON {} USING (true)",
                "ALTER TABLE {} OWNER TO CURRENT_USER",
                "DROP POLICY roster_loader ON {}",
                "CREATE TRIGGER mine BEFORE INSERT ON {} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            ):  # fmt: skip
                refused(own, statement.format(table))
        for view in VIEWS:
            refused(own, f"ALTER VIEW {view} RESET (security_invoker)")
            refused(own, f"DROP VIEW {view}")
        refused(own, "CREATE TABLE public.mine (a int)")
        refused(own, "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        refused(own, f"UPDATE {migrations.VERSION_TABLE} SET version_num = '0001'")


# ---- the program -----------------------------------------------------------------------------------------------------


@pytest.fixture
def home(shared: Shared, monkeypatch: pytest.MonkeyPatch, plain_checks: None) -> Shared:
    monkeypatch.setenv("ENROLLSYNC_HOME", str(shared.folder))
    return shared


@pytest.mark.parametrize("login", ["lincoln_loads", "office"])
def test_a_night_an_undo_and_what_is_told_work_for_who_may_load_and_change_no_other_district(
    home: Shared, login: str
) -> None:
    adams, lincoln = home.district("adams"), home.district("lincoln", login)
    before, start = adams.everything(), lincoln.everything()
    lincoln._numbers = iter(range(100, 120) if login == "office" else range(200, 220))  # type: ignore[assignment]
    rows = [
        student(),
        other(1, classId="C3", className="Chess"),
        other(2, userGrade="9"),
        other(3),
        other(40, schoolId="S9"),
    ]
    night = lincoln.run(rows, approve=True)
    assert night["outcome"] == "applied" and night["counts"]["users"]["create"] >= 1
    assert lincoln.run(rows)["outcome"] == "in_sync"
    assert lincoln.undo(night["run_id"])["outcome"] == "undone"
    only = [row for row in lincoln.view("users", "district_id, user_id, status") if row[0] == "lincoln"]
    assert only and (login == "office" or lincoln.everything() == start)
    reader = open_store(home.of("lincoln_reads"))
    assert [run["run_id"] for run in reader.runs("lincoln")][:1] and reader.runs("adams") == []
    assert "u1" in str(explain(reader, "lincoln", "user", "u1"))
    assert adams.everything() == before or login == "office"
    with home.connect("adams_reads") as own:
        assert set(counts(own, "changes")) == {"adams"}


def test_a_first_load_by_a_login_that_owns_nothing_takes_no_index_away(home: Shared) -> None:
    name = "office"
    nightly = home.district("newcomer", name)
    assert nightly.run(LINCOLN)["outcome"] == "applied"
    with home.connect("roster_owner") as owner:
        valid = owner.execute("SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'").fetchone()
        assert valid and valid[0] > 30
    removed = open_store(home.of(name)).remove_district("newcomer")
    assert removed["users"] == 3


def test_a_loader_is_told_who_may_change_an_old_schema(home: Shared) -> None:
    owner = open_store(home.of("roster_owner"))
    owner.downgrade()
    try:
        for login in ("office", "lincoln_loads"):
            with pytest.raises(DatabaseError, match="let the owner of its tables run `enrollsync database migrate`"):
                open_store(home.of(login)).migrate()
    finally:
        ran = CliRunner().invoke(
            app, ["database", "migrate", "--district", home.district("lincoln").district, "--database",
                  home.of("roster_owner")],
        )  # fmt: skip
        assert ran.exit_code == 0, ran.output
    open_store(home.of("office")).migrate()
    with home.connect("lincoln_reads") as own:
        # The view of the audit was made anew, and is as shut as before.
        assert own.execute("SELECT DISTINCT district_id FROM roster_changes").fetchall() == [("lincoln",)]


def test_what_an_upgrade_makes_anew_is_shut_until_the_rules_are_set_again(home: Shared) -> None:
    owner = open_store(home.of("roster_owner"))
    with owner.backend.connect(create=True).begin() as connection:
        migrations.downgrade(connection, "0008")
    owner.migrate()
    with home.connect("lincoln_reads") as own:
        for anew in ("known_findings", "roster_runs"):
            refused(own, f"SELECT FROM {anew}")
        own.rollback()
        home.by_owner(home.script())
        assert set(counts(own, "roster_runs")) == {"lincoln"}
        own.execute("SELECT FROM known_findings")


def test_the_rules_cost_the_loader_nothing(home: Shared) -> None:
    questions = [
        "SELECT * FROM users WHERE district_id = 'lincoln'",
        "SELECT * FROM users WHERE lower(email) = 'a@b.example' AND district_id = 'lincoln'",
        "SELECT * FROM roster_users WHERE substr(given_name, 1, 100) = 'Leena' AND district_id = 'lincoln'",
        "SELECT * FROM roster_enrollments WHERE user_key = 3 AND district_id = 'lincoln'",
        "SELECT * FROM roster_changes WHERE class_key = 3 AND district_id = 'lincoln'",
        "UPDATE users SET given_name = staged.given_name FROM roster_users AS staged "
        "WHERE staged.user_key = users.user_key AND users.district_id = 'lincoln'",
    ]  # fmt: skip
    for question in questions:
        plans = []
        for login in ("roster_owner", "office"):
            with home.connect(login) as own:
                for setting in dialects.PostgresBackend.by_index:
                    own.execute(setting)  # type: ignore[arg-type,call-overload]
                plans.append(own.execute(f"EXPLAIN (COSTS OFF) {question}").fetchall())  # type: ignore[arg-type,call-overload]
                own.rollback()
        assert plans[0] == plans[1], question


def test_taken_away_the_rules_leave_no_role_any_right(home: Shared) -> None:
    home.by_owner(home.script("--off"))
    try:
        for login in ("lincoln_reads", "lincoln_loads", "office"):
            with home.connect(login) as own:
                for relation in (*TABLES, *VIEWS):
                    refused(own, f"SELECT FROM {relation}")
        with home.connect("roster_owner") as owner:
            assert owner.execute("SELECT count(*) FROM pg_policy").fetchall() == [(0,)]
    finally:
        home.by_owner(home.script())
    with home.connect("lincoln_reads") as own:
        assert set(counts(own, "roster_users")) == {"lincoln"}


def test_a_districts_roles_are_dropped_and_the_others_stay(home: Shared) -> None:
    gone = home.district("gone").district
    home.by_owner(home.script(gone), home.script("--drop", gone), home.script("--drop", gone))
    with home.connect("roster_owner") as owner:
        left = owner.execute("SELECT DISTINCT polname FROM pg_policy ORDER BY 1").fetchall()
        assert owner.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'roster:gone%'").fetchall() == []
    assert left == [("roster:adams",), ("roster:lincoln",), ("roster_loader",)]


@pytest.mark.parametrize("options", [("--drop",), ("--off", "--drop"), ("--off", "demo")])
def test_options_that_say_nothing_together_are_refused(options: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, ["database", "roles", *options]).exit_code == 2


def test_a_district_whose_name_could_be_sql_or_another_districts_role_is_only_a_name() -> None:
    assert role_of("loader", "reader") != role_of("roster", "loader") != "roster_loader"
    script = sharing(["x' OR true --", 'a"b'])
    assert "district_id = 'x'' OR true --'" in script and '"roster:a""b:reader"' in script
    with pytest.raises(ConfigurationError, match="too long"):
        sharing(["x" * 60])


def test_an_older_server_is_refused_by_the_script_before_anything_is_done(home: Shared) -> None:
    script = home.script().replace("'server_version_num'", "'geqo_seed'").replace("::int", "::float")
    with pytest.raises(errors.RaiseException, match="PostgreSQL 15 or newer is needed"):
        home.by_owner(script)
