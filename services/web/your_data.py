"""The page that says what is kept of a reader, in words for everybody."""

from typing import Final

from services.integrity.marks import DAYS
from services.web.http.answers import Answer
from services.web.http.pages import page, public_page, show
from services.web.http.queries import Query
from services.web.page_head import Head
from services.web.site import Call

_HEAD: Final = Head(
    path="/your-data",
    title="Your data, and how long it is kept",
    description="What this site keeps when you read, vote, write a review or sign up, and for how long.",
)


@page("/your-data", Query)
async def your_data_page(call: Call, query: Query) -> Answer:
    """Say what is kept of a reader, for how long, and how to have it erased."""
    days = DAYS if call.site.settings.network_marks else None
    return show(call, "your_data.html", cache=public_page(call), head=_HEAD, days=days)
