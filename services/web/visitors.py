"""Visitors: callers without an account. Their tokens, and their erasure."""

import msgspec

from services.clock import fresh_id, now
from services.person.copies import VisitorCopy, copy_visitor
from services.web.http.answers import Answer, json_answer
from services.web.http.auth import find_visitor, visitor_cookie
from services.web.http.bodies import Id
from services.web.http.call import AUTHOR
from services.web.http.endpoints import endpoint
from services.web.site import Call


class NewVisitor(msgspec.Struct, frozen=True):
    """A visitor and the token that later calls present."""

    visitor: Id
    token: str


class ErasureAnswer(msgspec.Struct, frozen=True):
    """What was erased; `position` is that of the erasure's last event, null for a visitor without any."""

    visitor: Id
    reviews: int
    bookmarks: int
    position: int | None


@endpoint("POST", "/v1/visitors", gives=NewVisitor, statuses=(201, 200), problems=(429,), sent_by="program", counted=False)
async def post_visitor(call: Call) -> Answer:
    """Issue a visitor's token. New visitors of a network are counted; they have written nothing yet.

    With a valid token, as Bearer or cookie, the same visitor is answered (200) with a token under the newest key, unless it was
    erased.
    """
    visitor = find_visitor(call.head, call.site.tokens)
    status = 200
    if visitor is None or call.site.is_erased(visitor):
        call.add_limits(await call.site.limit_new_visitor(call.network))
        visitor = fresh_id()
        status = 201
    token = call.site.tokens.issue(visitor)
    headers = ((b"cache-control", b"no-store"), visitor_cookie(token, call.site.settings.base_url))
    return json_answer(NewVisitor(visitor, token), status, headers)


@endpoint("GET", "/v1/visitors/me", by=AUTHOR, gives=VisitorCopy, problems=(429,))
async def get_visitor(call: Call) -> VisitorCopy:
    """Return a copy of everything that is kept of the visitor: votes, bookmarks, reviews, reports, and what concerned them.

    It says of each part what it is, how long it is kept and why. Up to 20 an hour.
    """
    call.add_limits(await call.site.limit_copy(call.visitor))
    return await copy_visitor(call.site.sources, call.visitor, now())


@endpoint("DELETE", "/v1/visitors/me", by=AUTHOR, gives=ErasureAnswer)
async def delete_visitor(call: Call) -> ErasureAnswer:
    """Erase what the visitor wrote: reviews are withdrawn, their texts destroyed, bookmarks removed. Its votes stay counted.

    From then on its token writes nothing: 403.
    """
    receipt = await call.site.erase_visitor(call.visitor, call.key)
    return ErasureAnswer(call.visitor, receipt.value.reviews, receipt.value.bookmarks, receipt.position)
