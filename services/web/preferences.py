"""The pages behind the links in mails: plain forms, no script. Opening one changes nothing; a button that is pressed does."""

from datetime import date
from typing import Any, Final
from urllib.parse import quote

import msgspec

from events.commands.erasure import EraseVisitor
from events.commands.subscribers import EraseSubscriber, JoinBookmarks, RequestMail, Unsubscribe
from events.subscribers import NotSubscribed
from projections import tools
from services.clock import fresh_id
from services.newsletter import outbox, subscribers
from services.newsletter.sender import ring
from services.newsletter.tokens import Purpose, TokenInvalid
from services.web.http.answers import JSON, Answer
from services.web.http.auth import find_visitor
from services.web.http.bodies import fields
from services.web.http.endpoints import endpoint
from services.web.http.pages import HTML, show
from services.web.http.problems import BadInput
from services.web.http.queries import Query, QueryReader
from services.web.newsletter import Preferences, Token, read_subscriber, save, tell, too_old
from services.web.site import Call


class WithToken(Query, frozen=True, kw_only=True):
    """The query of a mail's link."""

    token: Token


_query: Final = QueryReader(WithToken)


def _token(call: Call) -> str:
    return _query.read(call.scope["query_string"]).token


def _holder(call: Call, purpose: Purpose) -> str:
    return call.site.mail_tokens.read(purpose, _token(call))


def _action(page: str, token: str) -> str:
    return f"/newsletter/{page}?token={quote(token)}"


@endpoint("GET", "/newsletter/confirm", gives=HTML, problems=(410,))
async def confirm_page(call: Call) -> Answer:
    """Show the button that confirms a subscription."""
    token = _token(call)
    try:
        call.site.mail_tokens.read_confirm(token)
    except TokenInvalid:
        return too_old(call)
    return show(call, "confirm.html", token=token)


@endpoint("GET", "/newsletter/unsubscribe", gives=HTML, problems=(410,))
async def unsubscribe_page(call: Call) -> Answer:
    """Show the button that ends a subscription."""
    token = _token(call)
    try:
        call.site.mail_tokens.read_unsubscribe(token)
    except TokenInvalid:
        return too_old(call)
    text = "Press the button and you get no further issue."
    return show(
        call, "button.html", heading="Unsubscribe", text=text, action=_action("unsubscribe", token), button="Unsubscribe me"
    )


@endpoint("POST", "/newsletter/unsubscribe", gives=HTML, problems=(410,))
async def unsubscribe(call: Call) -> Answer:
    """End a subscription: a page's button, or a mail program's one click (RFC 8058). May be repeated."""
    try:
        subscriber = call.site.mail_tokens.read_unsubscribe(_token(call))
    except TokenInvalid:
        return too_old(call)
    await call.read_body()
    await call.site.committer.submit(Unsubscribe(subscriber))
    return tell(call, "You are unsubscribed", "No further issue will be sent to you.")


@endpoint("GET", "/newsletter/preferences", gives=HTML, problems=(410,))
async def preferences_page(call: Call) -> Answer:
    """Show a subscriber's preferences in a form."""
    try:
        return await _form(call, _holder(call, "manage"))
    except (TokenInvalid, NotSubscribed):
        return too_old(call)


@endpoint("POST", "/newsletter/preferences", gives=HTML, problems=(410,))
async def save_preferences(call: Call) -> Answer:
    """Save the form, or mail the links to one's data; a visitor's bookmarks join the subscriber's."""
    sent = fields(await call.read_body())
    try:
        subscriber = _holder(call, "manage")
        if sent.get("do") == ["export"]:
            return await _mail_links(call, subscriber)
        await save(call, subscriber, _wanted(sent))
        visitor = find_visitor(call.head, call.site.tokens)
        if visitor is not None:
            await call.site.committer.submit(JoinBookmarks(subscriber, visitor))
        return await _form(call, subscriber, "Saved.")
    except (TokenInvalid, NotSubscribed):
        return too_old(call)


def _wanted(sent: dict[str, list[str]]) -> Preferences:
    until = (sent.get("paused_until") or [""])[-1]
    values: dict[str, Any] = {
        "categories": sent.get("category", []),
        "frequency": (sent.get("frequency") or ["weekly"])[-1],
        "paused_until": until or None,
    }
    try:
        return msgspec.convert(values, Preferences)
    except msgspec.ValidationError:
        raise BadInput("The form holds something that its fields don't offer.") from None


async def _form(call: Call, subscriber: str, saved: str = "") -> Answer:
    state = await read_subscriber(call, subscriber)
    known = [category.name for category in await tools.categories(call.site.database)]
    until = state.paused_until
    return show(
        call,
        "preferences.html",
        action=_action("preferences", _token(call)),
        categories=sorted({*known, *state.categories}),
        chosen=state.categories,
        frequency=state.frequency,
        paused_until=until if until and date.fromisoformat(until) else None,
        unsubscribe_url=_action("unsubscribe", call.site.mail_tokens.unsubscribe(subscriber)),
        saved=saved,
    )


async def _mail_links(call: Call, subscriber: str) -> Answer:
    cap = call.site.settings.newsletter.singles_per_day
    planned = await call.site.committer.submit(RequestMail(subscriber, "export", mail=fresh_id(), cap=cap))
    await ring(call.site.valkey)
    if not planned.value:
        return tell(call, "Not today", "We have mailed you enough for today; ask again tomorrow.", 200)
    return tell(call, "On its way", "A mail with links to your data is on its way to you.")


@endpoint("GET", "/newsletter/export", gives=HTML, problems=(410,))
async def export_page(call: Call) -> Answer:
    """Show the button that downloads one's data."""
    return _button(call, "export", "Your data", "A copy of what we keep about you, as a JSON file.", "Download it")


@endpoint("POST", "/newsletter/export", gives=JSON, problems=(410,))
async def export(call: Call) -> Answer:
    """Give a copy of what is kept about a subscriber."""
    try:
        subscriber = _holder(call, "export")
    except TokenInvalid:
        return too_old(call)
    await call.read_body()
    found = await subscribers.export(call.site.database, call.site.vault, subscriber)
    headers = [(b"content-disposition", b'attachment; filename="your-data.json"'), (b"cache-control", b"private, no-store")]
    return Answer(msgspec.json.format(msgspec.json.encode(found)), 200, JSON, headers)


@endpoint("GET", "/newsletter/erase", gives=HTML, problems=(410,))
async def erase_page(call: Call) -> Answer:
    """Show the button that erases a subscriber."""
    text = "This destroys your address, your preferences and the texts you wrote here. It can't be undone."
    return _button(call, "erase", "Erase what you know of me", text, "Erase it")


@endpoint("POST", "/newsletter/erase", gives=HTML, problems=(410,))
async def erase(call: Call) -> Answer:
    """Erase a subscriber, and what was written by the visitors it joined."""
    try:
        subscriber = _holder(call, "erase")
    except TokenInvalid:
        return too_old(call)
    await call.read_body()
    erased = await call.site.committer.submit(EraseSubscriber(subscriber))
    for visitor in erased.value.visitors:
        await call.site.committer.submit(EraseVisitor(visitor))
    outbox.forget(call.site.settings.home, subscriber)
    return tell(call, "Erased", "Your address, your preferences and the texts you wrote are destroyed.")


def _button(call: Call, purpose: Purpose, heading: str, text: str, button: str) -> Answer:
    try:
        _holder(call, purpose)
    except TokenInvalid:
        return too_old(call)
    return show(call, "button.html", heading=heading, text=text, action=_action(purpose, _token(call)), button=button)
