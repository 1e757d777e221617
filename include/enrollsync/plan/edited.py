"""Whether the plan of an edit does what the person asked, all of it and nothing else."""

from __future__ import annotations

from enrollsync.run import engine
from enrollsync.run.run import Run
from enrollsync.words.canonical import BY_NAME, ENTITIES


def does_what_was_asked(run: Run) -> bool:
    """A value that the rules withhold, or a record that waits, would leave half an edit."""
    edit = run.manifest.edit
    assert edit is not None
    entity, place = BY_NAME[edit.entity], run.place
    values = " AND ".join(f"{name} IS NOT DISTINCT FROM ${name}" for name in edit.changes)
    with engine.connect(place.root) as connection:
        parts = [
            f"SELECT count(*) FROM {engine.parquet(place.plan_table(other.name))}"
            for other in ENTITIES
            if place.plan_table(other.name).exists()
        ]
        (all_changes,) = engine.one_row(connection, f"SELECT {' + '.join(f'({part})' for part in parts)}")
        (asked,) = engine.one_row(
            connection,
            f"SELECT count(*) FROM {engine.parquet(place.plan_table(entity.name))} "
            f"WHERE {entity.key} = $key AND {values}",
            {"key": edit.key, **edit.changes},
        )
    return bool(asked == all_changes == 1)
