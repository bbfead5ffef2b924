"""The command `assay migrate`."""

from assay_cli import bootstrap
from assay_cli.output import Json, plain, print_json, say


def migrate(*, as_json: Json = False) -> None:
    """Bring the tables in PostgreSQL to this version.

    All of it happens in one transaction, or nothing. Run it before the first
    use and after each upgrade; where nothing is to be done it does nothing.
    Two at the same time wait for each other. There is no way back to an older
    version: have a backup.

    Needs ASSAY_POSTGRES__URL, of a role that may create tables.

    Exit codes: 0 done, 75 PostgreSQL is away, 78 settings or rights are wrong.
    """
    applied = bootstrap.migrate()
    if as_json:
        print_json({"applied": applied})
    elif applied:
        say("Applied:")
        for revision in applied:
            say(f"  {plain(revision)}")
    else:
        say("Nothing to do: the tables serve this version.")
