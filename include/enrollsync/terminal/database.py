"""`enrollsync database …`: what those need who run the roster's database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from enrollsync.settings import load_district
from enrollsync.terminal.ending import errors_stop
from enrollsync.terminal.options import DatabaseOption, DistrictOption
from enrollsync.terminal.printing import print_table
from enrollsync.words.errors import ConfigurationError, EnrollSyncError
from enrollsync.words.printable import printable

if TYPE_CHECKING:
    from enrollsync.database import Store

database_app = typer.Typer(help="Looks after the roster database itself; meant for those who run it.")


@database_app.command()
def migrate(district: DistrictOption, database: DatabaseOption = None) -> None:
    """Create the roster's schema or bring it up to date, as the next run would do where its login may."""
    with errors_stop(False):
        store = _roster(district, database)
        store.migrate()
    from enrollsync.database.migrations import known_revisions

    typer.echo(f"database {store.backend.place}: its schema is {known_revisions()[0]}")


@database_app.command()
def downgrade(
    district: DistrictOption,
    database: DatabaseOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take the newest step of the schema back, for the program of before; says what is lost, and asks."""
    with errors_stop(False):
        store = _roster(district, database)
        revision, before, loses = store.way_back()
        typer.echo(f"database {store.backend.place}: from schema {revision} to {before}. {loses}")
        if not yes:
            typer.confirm("Take it back?", abort=True, err=True)
        store.downgrade()
    typer.echo(f"Its schema is {before}. Go on with the program of that schema: this one brings {revision} back.")


@database_app.command()
def roles(
    districts: Annotated[list[str] | None, typer.Argument(help="District files; without any, all of them.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Take every rule away instead.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Drop the roles of the districts named instead.")] = False,
) -> None:
    """Print SQL by which each district's role on PostgreSQL sees its own rows alone; for psql, as the tables' owner."""
    from enrollsync.database import sharing
    from enrollsync.settings import districts_folder

    with errors_stop(False):
        if (drop and not districts) or (off and (drop or districts)):
            raise ConfigurationError("--drop needs the names of districts, and --off takes none; give one of the two")
        named = districts or sorted(str(path) for path in districts_folder().glob("*.yaml"))
        ids = [] if off else [load_district(name).district_id for name in named]
        script = sharing.no_sharing() if off else sharing.dropping(ids) if drop else sharing.sharing(ids)
    typer.echo(script, nl=False)


@database_app.command()
def copy(target: str, district: DistrictOption, database: DatabaseOption = None) -> None:
    """Copy all that the roster knows of a district, audit and runs too, into the database at the URL TARGET."""
    from enrollsync.database import open_store

    with errors_stop(False):
        copied = _roster(district, database).copy_district(load_district(district).district_id, open_store(target))
    print_table(("table", "rows copied"), [[table, f"{rows:,}"] for table, rows in copied.items()])


@database_app.command()
def remove(
    district: DistrictOption,
    database: DatabaseOption = None,
    confirm: Annotated[
        str | None, typer.Option("--confirm", metavar="ID", help="The district's id, in place of asking for it.")
    ] = None,
) -> None:
    """Remove all that is known of a district from the roster, its runs' folders and uploads; shows counts, and asks."""
    import shutil

    from enrollsync.run.object_store import drop, folders_of
    from enrollsync.settings import runs_folder, uploads_folder

    with errors_stop(False):
        settings, store = load_district(district), _roster(district, database)
        district_id = settings.district_id
        places = (runs_folder(settings), uploads_folder(district_id))
        within = {place: folders_of(place) for place in places}
        folders = [place for place in places if place.is_dir() or within[place]]
        counts = [[table, f"{rows:,}"] for table, rows in store.count_district(district_id).items()]
        counts += [[printable(str(folder)), f"{len(within[folder]):,}"] for folder in folders]
        typer.echo(f"database {store.backend.place}: all of district {district_id} goes, and nothing brings it back:")
        print_table(("what", "how many"), counts)
        if (confirm or typer.prompt("To remove it, type the district's id", err=True)) != district_id:
            raise ConfigurationError(f"that is not {district_id}; nothing was removed")
        store.remove_district(district_id)
        try:
            for folder in folders:
                if folder.is_dir():
                    shutil.rmtree(folder)
                drop(folder)
        except OSError as error:
            said = f"the roster has nothing of district {district_id} any more, but {error.filename} cannot be removed"
            raise EnrollSyncError(f"{said}: {error.strerror}; mend that and give the command again") from None
        store.wipe()
    typer.echo("Removed. Its district file, deliveries, back-ups and roles are where they were.")


def _roster(district: str, database: str | None) -> Store:
    from enrollsync.database import open_store
    from enrollsync.run.run import database_url_of

    return open_store(database_url_of(load_district(district), database))
