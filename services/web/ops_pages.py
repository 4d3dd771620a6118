"""The operator's first page: signing in and out, how everything stands, and the pulse that its charts follow."""

from importlib.metadata import version
from typing import Annotated, Any, cast

from asyncpg import Connection
from msgspec import Meta, Struct

from services.clock import now
from services.status.read import read_status
from services.status.views import pulse, throughput
from services.web.chart import spark
from services.web.http.answers import Answer, EmptyAnswer, json_answer
from services.web.http.auth import Sessions
from services.web.http.call import operator
from services.web.http.pages import page, post, read_form, show, signed_in
from services.web.http.queries import Query
from services.web.ops import first_page, show_ops
from services.web.site import Call


class SignIn(Struct, frozen=True, kw_only=True):
    """An operator's token."""

    token: Annotated[str, Meta(max_length=400)]


@page("/ops/sign-in", Query)
async def sign_in_page(call: Call, query: Query) -> Answer:
    """Show the form to sign in; lead on whoever has."""
    operator = signed_in(call)
    if operator is not None:
        return _to(first_page(operator))
    return show(call, "ops_sign_in.html", is_wrong=False)


@post("/ops/sign-in")
async def sign_in(call: Call) -> Answer:
    """Sign an operator in; tries are counted as writes of the network are."""
    call.add_headers(tuple(await call.site.limit_write(f"sign-in {call.network}", call.network)))
    form = await read_form(call, SignIn)
    operator = call.site.operators.operator_of(form.token.strip().encode())
    if operator is None:
        return show(call, "ops_sign_in.html", status=403, is_wrong=True)
    return _to(first_page(operator), Sessions(call.site.settings).begin(operator, now().timestamp()))


@post("/ops/sign-out")
async def sign_out(call: Call) -> Answer:
    """Sign out."""
    await call.read_body()
    return _to("/ops/sign-in", Sessions(call.site.settings).end())


@page("/ops", Query, operator("read"))
async def overview(call: Call, asked: Query) -> Answer:
    """Show how log, views, queue and issues stand, what is wrong, and what to do about it."""
    site = call.site
    async with site.database.acquire() as connection:
        # The pool's proxy is a connection in all but its type.
        status = await read_status(cast("Connection[Any]", connection), site.schedule, site.valkey)
    minutes = await throughput(site.database)
    return show_ops(
        call,
        "ops_overview.html",
        "/ops",
        standing=status,
        release=version("ballotpress"),
        minutes=minutes,
        line=spark(minutes, 600, 120),
        viewers=site.live.viewers,
    )


@page("/ops/pulse", Query, operator("read"))
async def beat(call: Call, asked: Query) -> Answer:
    """Give the pulse as JSON, for the charts."""
    return json_answer(await pulse(call.site.database), headers=[(b"cache-control", b"no-store")])


def _to(path: str, *headers: tuple[bytes, bytes]) -> Answer:
    return EmptyAnswer(303, ((b"location", path.encode("ascii")), (b"cache-control", b"no-store"), *headers))
