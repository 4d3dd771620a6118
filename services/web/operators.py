"""Operators: signing in and out, the overview with its pulse, and the catalog.

Every operators' page is rendered by `show_ops`, with the pages that the operator's scopes open.
"""

import asyncio
from importlib.metadata import version
from typing import Annotated, Any, Final, cast

import msgspec
from asyncpg import Connection
from litestar.types import Scope
from msgspec import Meta

from events.catalog_file import CatalogFile, CatalogInvalid
from events.commands.catalog import ImportCatalog
from projections import reviews
from services.clock import fresh_id, now
from services.integrity import queue
from services.json_input import MOST_FAULTS
from services.settings import OperatorToken
from services.status.model import Status
from services.status.read import read_status
from services.status.views import pulse, throughput
from services.web.badge_hosts import read_hosts
from services.web.chart import spark
from services.web.filters import count
from services.web.http.answers import Answer, json_answer, redirect
from services.web.http.auth import Sessions
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.pages import page, post, read_form, show, sign_out, signed_in
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
    ("digest", "/ops/suppressions", "Suppressions"),
    ("webhooks", "/ops/webhooks", "Webhooks"),
    ("read", "/ops/quarantine", "Quarantine"),
    ("read", "/ops/log", "Log"),
)
"""The operators' pages: the scope that each needs, its path and its name."""


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's token."""

    token: Annotated[str, Meta(max_length=400)]


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
    operator: OperatorToken | None = scope.get("signed_in")  # type: ignore[assignment]
    if operator is None:
        return {"is_ops": True}
    entries = [entry for entry in ENTRIES if entry[0] in operator.scopes]
    return {"is_ops": True, "ops_here": "", "operator": operator.name, "entries": entries, "waiting": {}}


def first_page(operator: OperatorToken) -> str:
    """Return the first page that an operator's scopes open; the overview, which says what is missing, if none does."""
    return next((path for scope, path, _ in ENTRIES if scope in operator.scopes), "/ops")


async def read_overview(site: Site) -> StatusAnswer:
    """Return the state of log, views, database and queue, and what is wrong."""
    async with site.database.acquire() as connection:
        # The pool's proxy is a connection in all but its type.
        session = cast("Connection[Any]", connection)
        status = await read_status(session, site.schedule, site.valkey, vault=site.vault, data=site.settings.home)
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


@page("/ops/sign-in", Query)
async def sign_in_page(call: Call, query: Query) -> Answer:
    """Show the form to sign in, or redirect an operator who has signed in."""
    operator = await signed_in(call)
    if operator is not None:
        return redirect(first_page(operator))
    return show(call, "ops_sign_in.html", is_wrong=False)


@post("/ops/sign-in")
async def sign_in_form(call: Call) -> Answer:
    """Sign an operator in; wrong tokens are counted."""
    call.site.refuse_guesses(call.network)
    form = await read_form(call, SignIn)
    operator = call.site.operators.operator_of(form.token.strip().encode())
    if operator is None:
        call.site.note_guess(call.network, "/ops/sign-in")
        return show(call, "ops_sign_in.html", status=403, is_wrong=True)
    return redirect(first_page(operator), Sessions(call.site.settings).begin(operator, now().timestamp()))


@post("/ops/sign-out")
async def sign_out_form(call: Call) -> Answer:
    """Sign out."""
    await call.read_body()
    await sign_out(call)
    return redirect("/ops/sign-in", Sessions(call.site.settings).end())


@page("/ops", Query, operator("read"))
async def overview_page(call: Call, query: Query) -> Answer:
    """Show the state of log, views, queue and issues, what is wrong, and what to do about it."""
    minutes = await throughput(call.site.database)
    return await show_ops(
        call,
        "ops_overview.html",
        "/ops",
        overview=await read_overview(call.site),
        minutes=minutes,
        line=spark(minutes, 600, 120),
        viewers=call.site.live.viewers,
        badge_hosts=await read_hosts(call.site.database, _BADGE_DAYS, _BADGE_HOSTS),
    )


@page("/ops/pulse", Query, operator("read"))
async def get_pulse(call: Call, query: Query) -> Answer:
    """Return the pulse as JSON, for the overview's charts."""
    return json_answer(await pulse(call.site.database), headers=[(b"cache-control", b"no-store")])
