"""Signing in to the operators' pages by a token of the settings, and signing out. `oidc` has the other way in."""

import secrets
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from services.clock import fresh_id
from services.operators import sessions
from services.operators.failures import note_failed
from services.operators.sessions import Visit
from services.web.browsers import family
from services.web.http.answers import Answer, redirect
from services.web.http.pages import OPS, ops_path, page, post, read_form, show, signed_in
from services.web.http.queries import Query
from services.web.operators import first_page
from services.web.site import Call

SECRET_BYTES: Final = 32


class SignInQuery(Query, frozen=True, kw_only=True):
    """The operators' page to go to afterwards; `said` tells that somebody has just signed out."""

    said: Literal["out"] | None = None
    to: Annotated[str, Meta(max_length=2000)] = ""


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's token, and the operators' page to go to afterwards."""

    token: Annotated[str, Meta(max_length=400)]
    to: Annotated[str, Meta(max_length=2000)] = ""


@page("/ops/sign-in", SignInQuery)
async def sign_in_page(call: Call, query: SignInQuery) -> Answer:
    """Show the ways to sign in, or redirect an operator who has signed in."""
    operator = await signed_in(call)
    if operator is not None:
        return redirect(way(query.to, operator.scopes))
    is_out = query.said is not None
    way_out = await call.site.signing_in.way_out() if is_out and call.site.signing_in is not None else None
    return show_sign_in(call, query.to, is_out=is_out, way_out=way_out)


@post("/ops/sign-in")
async def sign_in_form(call: Call) -> Answer:
    """Sign an operator in by a token: each try is counted, wrong ones also with those of programs."""
    call.site.refuse_guesses(call.network)
    call.add_limits(await call.site.limit_sign_in(call.network))
    form = await read_form(call, SignIn)
    if not call.site.settings.signing_in.by_token:
        return show_sign_in(call, form.to, "Here nobody signs in by a token.", status=403)
    operator = call.site.operators.operator_of(form.token.strip().encode())
    if operator is None:
        call.site.note_guess(call.network, "/ops/sign-in")
        await note_failed(call.site.database, "token", "wrong token")
        return show_sign_in(call, form.to, "No operator has this token.", status=403)
    secret = new_secret()
    await call.site.sessions.begin_by_token(fresh_id(), secret, operator, visit_of(call))
    return redirect(way(form.to, operator.scopes), call.site.session_cookies.begin(secret))


@post("/ops/sign-out")
async def sign_out_form(call: Call) -> Answer:
    """Sign out: the session is over, and a copy of its cookie is worth nothing from now on."""
    await call.read_body()
    operator = await signed_in(call)
    if operator is not None:
        await sessions.end(call.site.database, operator.name, [operator.session])
    is_elsewhere = operator is not None and operator.how == "oidc"
    return redirect(f"/ops/sign-in{'?said=out' if is_elsewhere else ''}", call.site.session_cookies.end())


def show_sign_in(
    call: Call, to: str, wrong: str | None = None, status: int = 200, *, is_out: bool = False, way_out: str | None = None
) -> Answer:
    """Show the ways to sign in, and what went wrong; after signing out, where to do so at the provider."""
    given, elsewhere = call.site.settings.signing_in, call.site.signing_in
    return show(
        call,
        "ops_sign_in.html",
        status=status,
        wrong=wrong,
        to="" if ops_path(to) == OPS else to,
        is_out=is_out,
        way_out=way_out,
        provider=None if elsewhere is None else elsewhere.provider.host,
        by_token=given.by_token,
        minutes=given.session_minutes,
    )


def new_secret() -> str:
    """Return the secret of a new session."""
    return secrets.token_urlsafe(SECRET_BYTES)


def visit_of(call: Call) -> Visit:
    """Return what is kept of where somebody signs in."""
    return Visit(family(call.head.get(b"user-agent", b"")), call.network[0].name)


def way(to: str, scopes: frozenset[str]) -> str:
    """Return the page to go to once signed in: the one asked for, or the first that the scopes open."""
    return first_page(scopes) if not to or ops_path(to) == OPS else to
