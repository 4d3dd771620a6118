"""Operators: the overview with its pulse, and the catalog.

Every operators' page is rendered by `show_ops`, with the pages that the operator's scopes open.
"""

import asyncio
from importlib.metadata import version
from typing import Any, Final, cast

import msgspec
from asyncpg import Connection
from litestar.types import Scope

from events.catalog_file import CatalogFile, CatalogInvalid
from events.commands.catalog import ImportCatalog
from projections import reviews
from services.clock import fresh_id
from services.integrity import queue
from services.json_input import MOST_FAULTS
from services.operators.sessions import SignedIn
from services.status.day import said
from services.status.model import Status
from services.status.read import read_status
from services.status.views import pulse, throughput
from services.web.badge_hosts import read_hosts
from services.web.chart import spark
from services.web.filters import count
from services.web.http.answers import Answer, json_answer
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.pages import page, show
from services.web.http.problems import BadInput, FieldError
from services.web.http.queries import Query
from services.web.site import Call, Site

_BADGE_DAYS: Final = 7
_BADGE_HOSTS: Final = 10
CATALOG_LIMIT: Final = 16 * 1024 * 1024
ENTRIES: Final = (
    ("read", "/ops", "Overview"),
    ("moderate", "/ops/reviews", "Moderation"),
    ("voters", "/ops/integrity", "Integrity"),
    ("voters", "/ops/voters", "Voters"),
    ("voters", "/ops/puzzles", "Puzzles"),
    ("digest", "/ops/mail", "Mail"),
    ("digest", "/ops/suppressions", "Suppressions"),
    ("digest", "/ops/holds", "Held mails"),
    ("webhooks", "/ops/webhooks", "Webhooks"),
    ("read", "/ops/quarantine", "Quarantine"),
    ("read", "/ops/log", "Log"),
    ("", "/ops/actions", "Who did what"),
    ("", "/ops/sessions", "Sessions"),
)
"""The operators' pages: the scope that each needs (if any), its path and its name."""


class StatusAnswer(Status, frozen=True, kw_only=True):
    """The status, and the release that answers."""

    release: str


class CatalogAnswer(msgspec.Struct, frozen=True):
    """How many events were appended for a catalog."""

    appended: int


async def show_ops(call: Call, template: str, here: str, **values: Any) -> Answer:
    """Render an operator's page, with the numbers of reviews and of cohorts that wait for a decision; nobody may keep it."""
    scopes, database = call.signed_in.scopes, call.site.database
    waiting = {
        "/ops/reviews": await reviews.count_waiting(database) if "moderate" in scopes else 0,
        "/ops/integrity": (await queue.count(database)).open if "voters" in scopes else 0,
    }
    return show(call, template, **(operators_frame(call.scope) | {"ops_here": here, "waiting": waiting}), **values)


def operators_frame(scope: Scope) -> dict[str, Any]:
    """Return the values of an operators' page's frame: the pages open to whoever has signed in, none before."""
    operator: SignedIn | None = scope.get("signed_in")  # type: ignore[assignment]
    if operator is None:
        return {"is_ops": True}
    entries = [entry for entry in ENTRIES if not entry[0] or entry[0] in operator.scopes]
    return {"is_ops": True, "ops_here": "", "operator": operator.name, "entries": entries, "waiting": {}}


def first_page(scopes: frozenset[str]) -> str:
    """Return the first page that an operator's scopes open; the overview, which says what is missing, if none does."""
    return next((path for scope, path, _ in ENTRIES if scope in scopes), "/ops")


async def read_overview(site: Site) -> StatusAnswer:
    """Return the state of log, views, database and queue, and what is wrong."""
    async with site.database.acquire() as connection:
        # The pool's proxy is a connection in all but its type.
        session = cast("Connection[Any]", connection)
        replicas = [] if site.readers is None else site.readers.standings()
        home, dsn = site.settings.home, site.settings.database_url
        status = await read_status(session, site.schedule, site.valkey, vault=site.vault, data=home, dsn=dsn, replicas=replicas)
    return StatusAnswer(**msgspec.structs.asdict(status), release=version("ballotpress"))


@endpoint("GET", "/v1/ops/status", by=operator("read"), gives=StatusAnswer)
async def get_status(call: Call) -> StatusAnswer:
    """Return the state of log, views, database and queue, and what is wrong."""
    return await read_overview(call.site)


@endpoint("POST", "/v1/ops/catalog", by=operator("catalog"), takes=CatalogFile, gives=CatalogAnswer, max_body=CATALOG_LIMIT)
async def post_catalog(call: Call, file: CatalogFile) -> CatalogAnswer:
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


@page("/ops", Query, operator("read"))
async def overview_page(call: Call, query: Query) -> Answer:
    """Show the state of log, views, queue and issues, what is wrong, and what to do about it."""
    minutes, overview = await throughput(call.site.database), await read_overview(call.site)
    return await show_ops(
        call,
        "ops_overview.html",
        "/ops",
        overview=overview,
        minutes=minutes,
        line=spark(minutes, 600, 120),
        viewers=call.site.live.viewers,
        changed=[] if overview.day is None else list(said(overview.day)),
        badge_hosts=await read_hosts(call.site.database, _BADGE_DAYS, _BADGE_HOSTS),
    )


@page("/ops/pulse", Query, operator("read"))
async def get_pulse(call: Call, query: Query) -> Answer:
    """Return the pulse as JSON, for the overview's charts."""
    return json_answer(await pulse(call.site.database), headers=[(b"cache-control", b"no-store")])
