"""Operators: the catalog, voters, how everything stands, and the log as it is."""

import asyncio
from importlib.metadata import version
from typing import Annotated, Any, Final, cast
from uuid import UUID

import msgspec
from asyncpg import Connection
from msgspec import Meta

from events.catalog_file import CatalogFile, CatalogInvalid
from events.commands.catalog import ImportCatalog
from events.commands.voters import CorrectVoters
from events.log import ids, store
from events.log.ids import ID
from events.log.store import RecordedRow
from projections.cards import tallies_at_head
from services.clock import fresh_id
from services.status.model import Status
from services.status.read import read_status
from services.web.filters import count
from services.web.http.answers import Answer, json_answer
from services.web.http.bodies import Id, Input, Reason, check_line
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.problems import BadInput, FieldError
from services.web.http.queries import Position, Query, next_link
from services.web.site import Call

MOST_FAULTS: Final = 100
CATALOG_LIMIT: Final = 16 * 1024 * 1024
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class CatalogAnswer(msgspec.Struct, frozen=True):
    """How many events the catalog took."""

    appended: int


class Disqualification(Input, frozen=True, kw_only=True):
    """Why; the reason is public."""

    reason: Reason


class Reinstatement(msgspec.Struct, frozen=True, kw_only=True):
    """Why; the reason is public."""

    reason: Reason = "Reinstated by an operator."


class VoterAnswer(msgspec.Struct, frozen=True):
    """Whether the voter is disqualified now, and how many votes went or came; `position` is that of the last event on it."""

    visitor: Id
    disqualified: bool
    votes: int
    position: int | None


class StatusAnswer(Status, frozen=True):
    """How everything stands, and which release answers."""

    release: str


class EventsQuery(Query, frozen=True, kw_only=True):
    """Which events: those above the position `after`, of the whole log or of one stream, by its uuid or its owner's id."""

    after: Position = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    stream: Annotated[str, Meta(pattern=rf"^{_UUID}$(?!\n)|{ID}")] | None = None


class EventsPage(msgspec.Struct, frozen=True):
    """Recorded events in the log's order; `next` is the position to ask for more after, null at the end."""

    items: list[RecordedRow]
    next: int | None


@endpoint(
    "POST",
    "/v1/ops/catalog",
    by=operator("catalog"),
    takes=CatalogFile,
    gives=CatalogAnswer,
    max_body=CATALOG_LIMIT,
)
async def import_catalog(call: Call, file: CatalogFile) -> CatalogAnswer:
    """Import a catalog file: what differs from the present catalog is appended, whole or not at all."""
    try:
        command = await asyncio.to_thread(ImportCatalog.of, file, fresh_id, call.operator, call.key)
        receipt = await call.site.committer.submit(command)
    except CatalogInvalid as error:
        raise BadInput(
            f"The catalog has {count(len(error.faults), 'error')}.",
            errors=[FieldError(pointer, detail) for pointer, detail in error.faults[:MOST_FAULTS]],
        ) from None
    return CatalogAnswer(receipt.value)


@endpoint(
    "POST",
    "/v1/ops/voters/{visitor}/disqualification",
    by=operator("voters"),
    takes=Disqualification,
    gives=VoterAnswer,
)
async def disqualify(call: Call, why: Disqualification) -> VoterAnswer:
    """Take a voter's votes out of every tally, and let it cast none; 200 as well when it is so already."""
    check_line("/reason", why.reason)
    return await _correct(call, why.reason, reinstate=False)


@endpoint(
    "DELETE",
    "/v1/ops/voters/{visitor}/disqualification",
    by=operator("voters"),
    takes=Reinstatement,
    gives=VoterAnswer,
)
async def reinstate(call: Call, why: Reinstatement) -> VoterAnswer:
    """Give a disqualified voter's votes back, and let it vote again; 200 as well when it is so already."""
    check_line("/reason", why.reason)
    return await _correct(call, why.reason, reinstate=True)


@endpoint("GET", "/v1/ops/status", by=operator("read"), gives=StatusAnswer)
async def status(call: Call) -> StatusAnswer:
    """Tell how log, views, database and queue stand, and what is wrong."""
    async with call.site.database.acquire() as connection:
        # The pool's proxy is a connection in all but its type.
        found = await read_status(cast("Connection[Any]", connection), call.site.schedule, call.site.valkey)
    return StatusAnswer(**msgspec.structs.asdict(found), release=version("ballotpress"))


@endpoint("GET", "/v1/ops/events", by=operator("read"), takes=EventsQuery, gives=EventsPage)
async def events(call: Call, query: EventsQuery) -> Answer:
    """Read the log as it is, from a position on."""
    rows = await store.read_rows(call.site.database, query.after, query.limit + 1, _stream(query.stream))
    shown = list(rows[: query.limit])
    more = shown[-1].position if len(rows) > query.limit else None
    link = () if more is None else (next_link(call, "after", str(more)),)
    return json_answer(EventsPage(shown, more), headers=link)


async def _correct(call: Call, reason: str, *, reinstate: bool) -> VoterAnswer:
    visitor = call.path["visitor"]
    command = CorrectVoters(
        fresh_id(), [visitor], reason, tallies_at_head, reinstate=reinstate, operator=call.operator, key=call.key
    )
    receipt = await call.site.committer.submit(command)
    votes = 0 if receipt.value is None else receipt.value.votes
    return VoterAnswer(visitor, not reinstate, votes, receipt.position)


def _stream(text: str | None) -> UUID | None:
    if text is None:
        return None
    return ids.stream_of(text) if ids.is_id(text) else UUID(text)
