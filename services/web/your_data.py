"""The page that says what is kept of a reader, in words for everybody."""

from services.integrity.marks import DAYS
from services.web.http.answers import Answer
from services.web.http.pages import ANYONES, page, show
from services.web.http.queries import Query
from services.web.site import Call


@page("/your-data", Query)
async def your_data_page(call: Call, query: Query) -> Answer:
    """Say what is kept of a reader, for how long, and how to have it erased."""
    days = DAYS if call.site.settings.network_marks else None
    return show(call, "your_data.html", cache=ANYONES, days=days)
