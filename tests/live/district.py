"""A district of the live tests: its deliveries, and what its roster says."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg

from enrollsync.sample import write_sample
from live.services import Airflow


@dataclass(frozen=True)
class District:
    """60 students in the roster's PostgreSQL, by Batch Upload unless its settings say otherwise."""

    airflow: Airflow
    name: str

    @classmethod
    def settled(cls, airflow: Airflow, name: str, **settings: Any) -> District:
        """One whose first delivery is applied."""
        district = cls(airflow, name)
        write_sample(district.landing, settings.get("primary_source", "batch_upload"), students=60, seed=3)
        airflow.add_district(name, **settings)
        airflow.wait(district.sync, airflow.trigger(district.sync))
        return district

    @property
    def sync(self) -> str:
        """The id of the nightly DAG."""
        return f"enrollment_sync__{self.name}"

    @property
    def undo(self) -> str:
        """The id of the DAG that takes a run back."""
        return f"enrollment_undo__{self.name}"

    @property
    def landing(self) -> Path:
        """Where deliveries are found."""
        return self.airflow.home / "data" / "landing" / self.name

    def change_names(self, middle: str) -> None:
        """Deliver the students again, each with this first name."""
        self.change_students(lambda row: row | {"userFirstName": middle})

    def change_students(self, change: Callable[[dict[str, str]], dict[str, str] | None]) -> None:
        """Deliver again what `change` makes of each row of a student; None leaves the row out."""
        users = self.landing / "users.csv"
        with users.open(newline="") as file:
            rows = list(csv.DictReader(file))
        changed = [change(row) if row["userRole"].casefold() == "student" else row for row in rows]
        with users.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(row for row in changed if row is not None)

    def address(self, run_id: str, file: str) -> str:
        """Of a file of a run."""
        return f"{self.airflow.place.address}/roster/{self.sync}/{quote(run_id, safe='')}/{file}"

    def file(self, run_id: str, name: str) -> httpx.Response:
        """A file of a run as the administrator sees it."""
        answer = self.airflow.client.get(self.address(run_id, name))
        answer.raise_for_status()
        return answer

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Of a question to the roster's database."""
        with psycopg.connect(self.airflow.roster_url) as database:
            return database.execute(query, values).fetchall()

    def named(self, given_name: str) -> int:
        """How many people have this first name."""
        query = "SELECT count(*) FROM roster_users WHERE district_id = %s AND given_name = %s"
        return int(self.rows(query, self.name, given_name)[0][0])

    def run(self, run_id: str) -> tuple[str, str | None]:
        """What the roster's database remembers of a run: outcome, and who approved."""
        query = "SELECT outcome, approved_by FROM roster_runs WHERE district_id = %s AND run_id = %s"
        ((outcome, approved_by),) = self.rows(query, self.name, run_id)
        return outcome, approved_by

    def answer(self, run_id: str) -> str | None:
        """What the roster's database remembers of what a person said to the run's plan."""
        query = "SELECT answer FROM roster_runs WHERE district_id = %s AND run_id = %s"
        ((answer,),) = self.rows(query, self.name, run_id)
        return None if answer is None else str(answer)

    def audited(self, run_id: str) -> int:
        """How many operations of a run the audit has."""
        query = "SELECT count(*) FROM roster_changes WHERE district_id = %s AND run_id = %s"
        return int(self.rows(query, self.name, run_id)[0][0])

    def everything(self) -> list[tuple[Any, ...]]:
        """The people, and the runs that wrote."""
        users = self.rows("SELECT * FROM roster_users WHERE district_id = %s ORDER BY user_key", self.name)
        runs = self.rows(
            "SELECT run_id, count(*) FROM roster_changes WHERE district_id = %s GROUP BY 1 ORDER BY 1", self.name
        )
        return [*users, *runs]

    def move(self) -> None:
        """Move the roster's version, as any other writer does."""
        with psycopg.connect(self.airflow.roster_url) as database:
            database.execute("UPDATE district_state SET version = version + 1 WHERE district_id = %s", [self.name])

    def date_others_back(self, run_id: str, day: date) -> None:
        """Let every other run have ended at noon of that day."""
        with psycopg.connect(self.airflow.roster_url) as database:
            ended = f"{day}T12:00:00.000000+00:00"
            query = "UPDATE runs SET ended_at = %s WHERE district_id = %s AND run_id <> %s"
            database.execute(query, [ended, self.name, run_id])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the district's writer for a while."""
        with psycopg.connect(self.airflow.roster_url) as database:
            database.execute("SELECT * FROM district_state WHERE district_id = %s FOR UPDATE", [self.name])
            yield

    def is_waited_for(self) -> bool:
        """Whether another writer waits for the lock."""
        return bool(self.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))
