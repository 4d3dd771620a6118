"""What the `type` of a problem leads to (RFC 9457, 3.1.1): a page that says what it means."""

from inspect import cleandoc

from services.web.http.answers import Answer
from services.web.http.pages import ANYONES, page, show
from services.web.http.problems import KINDS, UNEXPECTED, NotFound
from services.web.http.queries import Query
from services.web.site import Call


@page("/problems/{problem}", Query)
async def problem(call: Call, asked: Query) -> Answer:
    """Say what a type of problem means: its kind's words, else those of the exception that it stands for."""
    for error, kind in ((Exception, UNEXPECTED), *KINDS.items()):
        if kind.name == call.path["problem"]:
            text = kind.detail or cleandoc(error.__doc__ or kind.title)
            return show(call, "message.html", cache=ANYONES, heading=f"{kind.title} ({kind.status})", text=text)
    raise NotFound("There is no problem of this name.")
