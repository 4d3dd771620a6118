"""The visitor's own person: erasure of what it wrote."""

import msgspec

from events.commands.erasure import EraseVisitor
from services.web.http.bodies import Id
from services.web.http.call import AUTHOR
from services.web.http.endpoints import endpoint
from services.web.site import Call


class ErasureAnswer(msgspec.Struct, frozen=True):
    """What was erased; `position` is that of the erasure's last event, null for a visitor without any."""

    visitor: Id
    reviews: int
    bookmarks: int
    position: int | None


@endpoint("DELETE", "/v1/visitors/me", by=AUTHOR, gives=ErasureAnswer, problems=(503,))
async def erase(call: Call) -> ErasureAnswer:
    """Erase what the visitor wrote: reviews are withdrawn, their texts destroyed, bookmarks removed. Its votes stay counted."""
    receipt = await call.site.committer.submit(EraseVisitor(call.visitor, key=call.key))
    return ErasureAnswer(call.visitor, receipt.value.reviews, receipt.value.bookmarks, receipt.position)
