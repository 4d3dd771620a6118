"""Unsubscribing, by a page or by a mail program's one click, and taking that back within 24 hours by a button of ours.

Opening a page changes nothing. A withdrawal is undone by a form that a page of this site posted, and by nothing else: no mail
program, scanner or link can bring a reader back.
"""

from hashlib import sha256
from typing import Final
from urllib.parse import quote

from events.commands.subscribers import READ_WITHDRAWAL, UndoUnsubscribe, Unsubscribe
from events.log.event import fold
from events.subscribers import NothingToUndo, can_undo, evolve, stream
from services.newsletter.consents import UNDO_FORM
from services.newsletter.doorbell import ring
from services.web.http.answers import Answer
from services.web.http.bodies import fields
from services.web.http.endpoints import endpoint
from services.web.http.pages import HTML, post, show
from services.web.newsletter import SIGN_UP, from_link, read_token, show_message
from services.web.preferences import count_write, show_button
from services.web.site import Call

GONE: Final = "A withdrawal can be undone for 24 hours, once, and not after a complaint or an erasure. Sign up again instead."


@endpoint("GET", "/newsletter/unsubscribe", gives=HTML, problems=(410,), proof="linkToken")
@from_link
async def unsubscribe_page(call: Call) -> Answer:
    """Show the button that ends a subscription, or the one that takes that back."""
    subscriber = call.site.mail_tokens.read_unsubscribe(read_token(call))
    if undo := await _undo_token(call, subscriber):
        return _show_left(call, undo)
    text = "Press the button, and we send you no further issues."
    return show_button(call, "unsubscribe", "Unsubscribe", text, "Unsubscribe")


@endpoint("POST", "/newsletter/unsubscribe", gives=HTML, problems=(410,), proof="linkToken", sent_by="anyone")
@from_link
async def unsubscribe_form(call: Call) -> Answer:
    """End a subscription: a page's button, or a mail program's one click (RFC 8058). May be repeated."""
    subscriber = call.site.mail_tokens.read_unsubscribe(read_token(call))
    await count_write(call, subscriber)
    await call.read_body()
    await call.site.committer.submit(Unsubscribe(subscriber))
    return _show_left(call, await _undo_token(call, subscriber))


@post("/newsletter/undo")
@from_link
async def undo_form(call: Call) -> Answer:
    """Take a withdrawal back, by the button of the page that followed it."""
    token = (fields(await call.read_body()).get("token") or [""])[-1]
    subscriber, position = call.site.mail_tokens.read_undo(token)
    await count_write(call, subscriber)
    evidence = sha256(token.encode()).hexdigest()
    try:
        await call.site.committer.submit(UndoUnsubscribe(subscriber, position, UNDO_FORM, evidence))
    except NothingToUndo:
        return show_message(call, "This can't be undone any more", GONE, 410, [SIGN_UP])
    await ring(call.site.valkey)
    preferences = f"/newsletter/preferences?token={quote(call.site.mail_tokens.issue('manage', subscriber))}"
    text = "All is as it was: you get the next issue, and the one that is on its way if it hasn't reached you."
    return show_message(call, "You are subscribed again", text, links=[(preferences, "Choose what you get")])


def _show_left(call: Call, undo: str | None) -> Answer:
    return show(call, "unsubscribed.html", undo=undo)


async def _undo_token(call: Call, subscriber: str) -> str | None:
    """Return a token that undoes a subscriber's withdrawal; None if there is none that can be undone."""
    if not can_undo(fold(evolve, await call.site.log.whole(stream(subscriber)))):
        return None
    row = await call.site.database.fetchrow(READ_WITHDRAWAL, stream(subscriber))
    return call.site.mail_tokens.undo(subscriber, row["position"]) if row is not None and row["is_recent"] else None
