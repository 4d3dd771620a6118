"""Visitors: who is voting, without an account."""

from typing import Final

import msgspec

from services.clock import fresh_id
from services.web.http.answers import Answer, json_answer
from services.web.http.auth import find_visitor, visitor_cookie
from services.web.http.bodies import Id
from services.web.http.endpoints import endpoint
from services.web.site import Call

_NO_STORE: Final = (b"cache-control", b"no-store")


class NewVisitor(msgspec.Struct, frozen=True):
    """A visitor and the token that later calls present."""

    visitor: Id
    token: str


@endpoint("POST", "/v1/visitors", gives=NewVisitor, statuses=(201, 200), problems=(429,))
async def create(call: Call) -> Answer:
    """Issue a visitor's token.

    With a valid token, as Bearer or cookie, the same visitor is answered (200) with a token under the newest key.
    """
    visitor = find_visitor(call.head, call.site.tokens)
    status = 200
    if visitor is None:
        call.add_headers(await call.site.limit_new_visitor(call.network))
        visitor = fresh_id()
        status = 201
    token = call.site.tokens.issue(visitor)
    return json_answer(NewVisitor(visitor, token), status, [_NO_STORE, visitor_cookie(token, call.site.settings.base_url)])
