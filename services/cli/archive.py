"""`ballotpress events parts|archive|unarchive`: let old parts of the log be in files, and bring them back."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import rich_click as click

from services.cli.database import asynchronous, connected, operator_of
from services.cli.options import Whole, json_option
from services.cli.terminal import counted, show
from services.embedded.start import find_settings

if TYPE_CHECKING:
    from asyncpg import Connection

    from events.log.archive.packing import Reader
    from events.log.archive.state import Archive

PART: Final = Whole(0, 2**31 - 1)

READ_PARTS: Final = """
select p.part, p.first_position as first, least(p.last_position, h.position) as last, h.position > p.last_position as full,
       pg_total_relation_size(to_regclass(format('log.events_%s', p.part))) as bytes, a.state, a.place || '/' || a.name as file
from log.parts p cross join log.head h left join log.archives a on a.part = p.part
where p.first_position <= greatest(h.position, 1) order by p.part
"""

# Who reads the log by position outside the views, how far each has come, and what lets it come further.
READERS: Final = """
select 'The webhook ' || s.id || case when s.is_on then '' else ', which is switched off,' end as who, s.position,
       case when s.is_on then 'wait until it was told (`ballotpress webhooks show ' || s.id || '`)'
            else 'switch it on, `ballotpress webhooks on ' || s.id || '`, and wait' end
       || ', or take it away: `ballotpress webhooks remove ' || s.id || '`' as advice
from webhooks.subscriptions s
union all
select 'The purge of caches', g.position, 'wait for it, and see `ballotpress status`' from purge.progress g
union all
select 'The newsletter', i.position, 'wait until the next issue has told of what happened since'
from (select max(to_position) as position from newsletter.issues where number > 0 and state <> 'cancelled' group by edition) i
union all
select 'The search for bought votes', s.position, 'wait for it, and see `ballotpress status`'
from (select coalesce(log.position_at(scanned_to), 0) as position from integrity.scans
      where scanned_to is not null or exists (select from {integrity}.ticks)) s
union all
select 'The void of cohort ' || d.cohort, d.first_position - 1, 'wait until it is carried out, and see `ballotpress status`'
from {integrity}.decisions d where d.status = 'voiding'
"""


class PartLine(msgspec.Struct, frozen=True):
    """A part of the log that has events: its positions, its bytes here, and where its file is, if it has one.

    `state` is `written` (all of it is here as well), `packed` (little of it is), or `loaded` (for somebody who reads it).
    """

    part: int
    first: int
    last: int
    full: bool
    bytes: int
    state: str | None
    file: str | None


@click.command()
@click.option("--check", is_flag=True, help="Read each file whole, and say whether it is what was archived.")
@json_option
@asynchronous
async def parts(check: bool, as_json: bool) -> int:
    """List the parts of the log, and which of them are in the archive."""
    async with connected(find_settings()) as connection:
        found = [PartLine(**row) for row in await connection.fetch(READ_PARTS)]
        checked, wrong = await _checked(connection) if check else (0, [])
    lines = [_text(part) for part in found] + [f"WRONG: {line}" for line in wrong]
    if check:
        lines.append(f"Read {counted(checked, 'file')} of {counted(len(found), 'part')} whole: {len(wrong) or 'none'} wrong")
    show(as_json, {"parts": found, "checked": checked, "wrong": wrong}, *lines)
    return 1 if wrong else 0


@click.command()
@click.argument("part", type=PART)
@click.option("--to", "place", required=True, metavar="DIR|s3://BUCKET/PREFIX", help="Where its file is kept.")
@click.option(
    "--spool", type=click.Path(path_type=Path), metavar="DIR", help="Where the file is made first.  [default: TMPDIR]"
)
@click.option("--young", is_flag=True, help="Archive it though some of its events are younger than 45 days.")
@json_option
@asynchronous
async def archive(part: int, place: str, spool: Path | None, young: bool, as_json: bool) -> None:
    """Write PART (a number of `events parts`) to a Parquet file, read that back, and keep little of it in the database.

    What stays is enough for every vote, correction and page; a rebuild loads the part for as long as it reads it. Nothing is
    taken away before the file was read back and found right. If this is cut short, run it again. Of a part that is archived
    already, the file is written again if it is lost or broken, or is to be kept elsewhere: what stayed is enough for that.

    A bucket's address and keys come from AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    """
    settings = find_settings()
    from events.log.archive import packing
    from events.log.archive.places import place_of
    from events.log.archive.present import give_all_back
    from services.clock import now
    from services.operators import acts

    filing = packing.Filing(place_of(place), now, _say, spool)
    async with connected(settings) as connection:
        await give_all_back(connection)
        before = await _bytes(connection, part)
        readers = await _readers(connection)
        async with acts.doing(connection, operator_of(settings), "archived-part", f"part {part}") as act:
            kept = await packing.archive(connection, part, filing, readers=readers, young=young)
            act.about = kept.path
        after = await _bytes(connection, part)
    said = f"Archived part {part} ({kept.first} to {kept.last}): {kept.path}, {_size(kept.bytes)}"
    show(as_json, kept, said, _freed(before, after))


@click.command()
@click.argument("part", type=PART)
@click.option("--forget", is_flag=True, help="Never ask for its file again: it may be deleted then, or is gone already.")
@json_option
@asynchronous
async def unarchive(part: int, forget: bool, as_json: bool) -> None:
    """Bring all of PART back into the database, checked by its hash. Its file stays where it is.

    With --forget nothing asks for the file any more, also of a part that was brought back before.
    """
    settings = find_settings()
    from events.log.archive import present
    from services.operators import acts

    by, what = operator_of(settings), f"part {part}"
    async with connected(settings) as connection, acts.doing(connection, by, "unarchived-part", what) as act:
        archive = await (present.forget if forget else present.unarchive)(connection, part)
        act.about = archive.path
    if forget:
        said = f"All of part {part} is here. {archive.path} is no part of the log any more: keep it while backups need it"
    else:
        said = f"Brought part {part} back from {archive.path}, which stays there"
    show(as_json, archive, said)


async def _readers(connection: "Connection[Any]") -> "list[Reader]":
    """Return who reads the log by position outside the views, and has begun."""
    from events.log.archive.packing import Reader
    from projections.registry import named

    return [Reader(*row) for row in await connection.fetch(named(READERS)) if row["position"] is not None]


async def _checked(connection: "Connection[Any]") -> tuple[int, list[str]]:
    """Read the files of the archive; return how many there are, and what is wrong with them."""
    import asyncio

    from events.log.archive import reading, state
    from events.log.archive.places import PlaceUnusable

    def look(one: "Archive") -> str | None:
        try:
            reading.check_all(one)
        except (PlaceUnusable, state.FileBroken) as error:
            return f"part {one.part}: {error}"
        return None

    found = [await asyncio.to_thread(look, one) for one in await state.read_all(connection)]
    return len(found), [line for line in found if line is not None]


async def _bytes(connection: "Connection[Any]", part: int) -> int:
    """Return what a part takes here: its table, and what is kept of archived ballots."""
    found: int | None = await connection.fetchval(
        "select pg_total_relation_size(to_regclass(format('log.events_%s', $1::integer)))"
        " + pg_total_relation_size('log.archived_ballots') + pg_total_relation_size('log.archived_times')",
        part,
    )
    return found or 0


def _say(what: str) -> None:
    """Tell a terminal what is done next."""
    if sys.stderr.isatty():
        click.echo(f"{what.capitalize()} …", err=True)


def _freed(before: int, after: int) -> str:
    return (
        f"The database holds {_size(after)} for it, where it held {_size(before)}. Copy the file: it is a part of the log now"
    )


def _size(number: int) -> str:
    return f"{number / 1e6:,.1f} MB"


def _text(part: PartLine) -> str:
    if part.last < part.first:
        return f"{part.part}: empty, {_size(part.bytes)} here"
    how = "" if part.full else ", not full yet"
    where = f", {part.state}: {part.file}" if part.state else ""
    return f"{part.part}: {part.first} to {part.last}{how}, {_size(part.bytes)} here{where}"
