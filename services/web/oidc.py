"""Signing in at the provider: the way there, and the way back. `services.operators.signing_in` decides who is let in."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from services.clock import fresh_id
from services.operators.failures import note_failed
from services.operators.fetching import ProviderAway
from services.operators.signing_in import Begun, MustAsk, Returned, SigningIn, SignInRefused, begin
from services.web.http.answers import Answer, EmptyAnswer
from services.web.http.pages import SECRET, ops_path, page, show
from services.web.http.problems import NotFound
from services.web.http.queries import Query
from services.web.sign_in import new_secret, show_sign_in, visit_of, way
from services.web.site import Call

_LONG: Final = Meta(max_length=4096)
_OVER: Final = "Your session is over. Sign in again."


class BeginQuery(Query, frozen=True, kw_only=True):
    """The operators' page to go to afterwards; `quiet` asks nothing of somebody who is signed in at the provider."""

    to: Annotated[str, Meta(max_length=2000)] = ""
    quiet: bool = False


class BackQuery(Query, frozen=True, kw_only=True):
    """What the provider sends the browser back with."""

    code: Annotated[str, _LONG] | None = None
    state: Annotated[str, _LONG] | None = None
    iss: Annotated[str, _LONG] | None = None
    error: Annotated[str, _LONG] | None = None


@page("/ops/sign-in/oidc", BeginQuery)
async def begin_page(call: Call, query: BeginQuery) -> Answer:
    """Send the browser to the provider, which sends it back."""
    signing_in, begun = _provider(call), begin(ops_path(query.to) if query.to else "")
    call.add_headers(await call.site.limit_open_write(call.network))
    try:
        address = await signing_in.address(begun, quiet=query.quiet)
    except ProviderAway as error:
        return await _away(call, query.to, error)
    cookie = call.site.begun_sign_ins.begin(begun.state, msgspec.structs.asdict(begun))
    return EmptyAnswer(303, ((b"location", address.encode("ascii")), (b"cache-control", b"no-store"), cookie))


@page("/ops/sign-in/back", BackQuery, is_safe=False)
async def back_page(call: Call, query: BackQuery) -> Answer:
    """Sign in whom the provider vouches for, or say why nobody is.

    The browser comes from another site, so a redirect would come without a cookie that is for this one alone: a page of ours
    leads it on.
    """
    signing_in, state = _provider(call), query.state or ""
    call.add_headers(await call.site.limit_open_write(call.network))
    kept = call.site.begun_sign_ins.of(call.head, state)
    begun = None if kept is None else msgspec.convert(kept, Begun)
    to = "" if begun is None else begun.to
    returned = Returned(code=query.code, state=query.state, iss=query.iss, error=query.error)
    try:
        identity = await signing_in.finish(call.site.database, begun, returned)
    except MustAsk:
        return show_sign_in(call, to, _OVER)
    except ProviderAway as error:
        return await _away(call, to, error)
    except SignInRefused as refusal:
        await note_failed(call.site.database, "oidc", refusal.why)
        return show_sign_in(call, to, str(refusal), status=403)
    secret = new_secret()
    await call.site.sessions.begin_by_oidc(fresh_id(), secret, identity, visit_of(call))
    cookies = (call.site.session_cookies.begin(secret), call.site.begun_sign_ins.end(state))
    leads = way(to, call.site.sessions.scopes_of(identity.groups))
    return show(call, "ops_signed_in.html", cache=(*SECRET, *cookies), name=identity.name, leads=leads)


def _provider(call: Call) -> SigningIn:
    if call.site.signing_in is None:
        raise NotFound("This site has no provider to sign in at.")
    return call.site.signing_in


async def _away(call: Call, to: str, error: ProviderAway) -> Answer:
    """Say that the provider can't be used now, and what can."""
    await note_failed(call.site.database, "oidc", "provider away")
    host = _provider(call).provider.host
    return show_sign_in(call, to, f"{host} {error}, so nobody can sign in there now. Tokens work as ever.", status=503)
