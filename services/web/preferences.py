"""What a subscriber may do by the links of its mails: choose, download its data, have it erased. `leaving` has the rest.

The pages are plain forms without script. Opening one changes nothing; the button on it does.
"""

from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from events.commands.subscribers import JoinBookmarks, RequestMail, SetPreferences
from events.erasure import VisitorIsErased
from events.log.event import fold
from events.log.vault import Erased, Key
from events.subscribers import CategoriesUnknown, Frequency, NotSubscribed, Subscriber, evolve, stream
from services.clock import fresh_id, now
from services.newsletter.doorbell import ring
from services.newsletter.own_hours import FIELD, open_zone, zones
from services.newsletter.tokens import Purpose, TokenInvalid
from services.person.copies import copy_subscriber
from services.person.erasure import erase_subscriber
from services.web.http.answers import JSON, NO_STORE, Answer, json_answer
from services.web.http.auth import bearer, find_visitor
from services.web.http.bodies import Input, fields
from services.web.http.endpoints import endpoint
from services.web.http.pages import HTML, show
from services.web.http.problems import BadInput, FieldError, NoToken
from services.web.newsletter import Categories, Zone, check_zone, from_link, offered_categories, read_token, show_message
from services.web.site import Call

PAUSES: Final = (1, 2, 4, 8, 13, 26)
"""The weeks that a pause may last, as the page offers them; the API takes any day."""
NO_BOOKMARKS: Final = "There are no bookmarks in this browser."


class Preferences(Input, frozen=True, kw_only=True):
    """What to get (no category: all), how often, and the day until which nothing is sent.

    `zone` is the time zone whose hour issues keep to, left out where there is none. In a change, null takes it back, and left
    out it stays as it is. A site that sends to all readers at one hour keeps none.
    """

    categories: Categories
    frequency: Frequency
    paused_until: date | None = None
    zone: Zone | UnsetType | None = UNSET


async def read_preferences(call: Call, subscriber: str) -> Preferences:
    """Return a confirmed subscriber's preferences, from the log. Raises NotSubscribed."""
    state = fold(evolve, await call.site.log.whole(stream(subscriber)))
    if state is None or state.status != "confirmed":
        raise NotSubscribed
    return _preferences(state, await _key(call, subscriber))


async def set_preferences(call: Call, subscriber: str, wanted: Preferences) -> Preferences:
    """Set a subscriber's preferences. Raises NotSubscribed, BadInput for categories or a zone that don't exist."""
    until = wanted.paused_until.isoformat() if wanted.paused_until else None
    offered = await offered_categories(call)
    key = await _key(call, subscriber)
    zone = await _sealed_zone(call, subscriber, wanted.zone, key)
    command = SetPreferences(subscriber, wanted.categories, wanted.frequency, until, offered, zone)
    try:
        return _preferences((await call.site.committer.submit(command)).value, key)
    except CategoriesUnknown as error:
        places = [n for n, category in enumerate(wanted.categories) if category in error.unknown]
        errors = [FieldError(f"/categories/{n}", str(error)) for n in places]
        raise BadInput("The catalog has no such category.", errors=errors) from None


async def _key(call: Call, subscriber: str) -> Key:
    """Return the key under which a subscriber's texts are sealed. Raises NotSubscribed."""
    try:
        return await call.site.vault.key_of(call.site.database, subscriber)
    except Erased:
        raise NotSubscribed from None


async def _sealed_zone(call: Call, subscriber: str, zone: str | UnsetType | None, key: Key) -> str | UnsetType | None:
    """Return a chosen time zone sealed; unset where it stays as it is. Raises BadInput, NotSubscribed."""
    if zone is UNSET or zone is None:
        return zone
    check_zone(zone)
    known = (await read_preferences(call, subscriber)).zone
    return key.seal(FIELD, zone) if call.site.settings.pace.own_hour and zone != known else UNSET


def _preferences(state: Subscriber, key: Key) -> Preferences:
    until = date.fromisoformat(state.paused_until) if state.paused_until else None
    zone = open_zone(key, state.zone) or UNSET
    return Preferences(categories=list(state.categories), frequency=state.frequency, paused_until=until, zone=zone)


@endpoint("GET", "/v1/newsletter/preferences", gives=Preferences, problems=(401, 410), proof="manageToken")
async def get_preferences(call: Call) -> Answer:
    """Return a subscriber's preferences; `Authorization: Bearer` is the manage token of a mail."""
    return json_answer(await read_preferences(call, _bearer(call)), headers=NO_STORE)


@endpoint("PUT", "/v1/newsletter/preferences", takes=Preferences, gives=Preferences, problems=(401, 410), proof="manageToken")
async def put_preferences(call: Call, wanted: Preferences) -> Answer:
    """Choose what to get, how often, and a pause; `Authorization: Bearer` is the manage token of a mail."""
    subscriber = _bearer(call)
    await count_write(call, subscriber)
    return json_answer(await set_preferences(call, subscriber, wanted), headers=NO_STORE)


async def count_write(call: Call, subscriber: str) -> None:
    """Count a subscriber's write, beside its network's. Raises TooManyRequests."""
    call.add_limits(await call.site.limit_subscriber(subscriber))


def _bearer(call: Call) -> str:
    """Return the subscriber whose manage token the caller presents. Raises NoToken."""
    token = bearer(call.head)
    try:
        return call.site.mail_tokens.read("manage", (token or b"").decode("ascii", "replace"))
    except TokenInvalid:
        raise NoToken("This needs the manage token of a mail.") from None


@endpoint("GET", "/newsletter/preferences", gives=HTML, problems=(410,), proof="linkToken")
@from_link
async def preferences_page(call: Call) -> Answer:
    """Show a subscriber's preferences in a form."""
    return await _show_form(call, _holder(call, "manage"))


@endpoint("POST", "/newsletter/preferences", gives=HTML, problems=(410,), proof="linkToken")
@from_link
async def preferences_form(call: Call) -> Answer:
    """Save the form, join this browser's bookmarks to the subscription, or mail the links to one's data."""
    subscriber = _holder(call, "manage")
    await count_write(call, subscriber)
    sent = fields(await call.read_body())
    match sent.get("do"):
        case ["export"]:
            return await _mail_links(call, subscriber)
        case ["join"]:
            return await _join(call, subscriber)
    await set_preferences(call, subscriber, _wanted(sent))
    return await _show_form(call, subscriber, "Saved.")


async def _join(call: Call, subscriber: str) -> Answer:
    """Join the bookmarks of the visitor whose cookie the browser sends."""
    visitor = find_visitor(call.head, call.site.tokens)
    if visitor is None:
        return await _show_form(call, subscriber, NO_BOOKMARKS)
    try:
        await call.site.committer.submit(JoinBookmarks(subscriber, visitor))
    except VisitorIsErased:
        return await _show_form(call, subscriber, NO_BOOKMARKS)
    return await _show_form(call, subscriber, "Your digest now follows the tools that you bookmarked in this browser.")


def _wanted(sent: dict[str, list[str]]) -> Preferences:
    """Return the preferences that a form says. Raises BadInput."""
    values: dict[str, Any] = {
        "categories": sent.get("category", []),
        "frequency": (sent.get("frequency") or ["weekly"])[-1],
        "paused_until": (sent.get("paused_until") or [""])[-1] or None,
    }
    if "zone" in sent:
        values["zone"] = sent["zone"][-1] or None
    try:
        return msgspec.convert(values, Preferences)
    except msgspec.ValidationError:
        raise BadInput("The form holds something that its fields don't offer.") from None


async def _show_form(call: Call, subscriber: str, saved: str = "") -> Answer:
    preferences = await read_preferences(call, subscriber)
    known = await offered_categories(call)
    until = preferences.paused_until
    visitor = find_visitor(call.head, call.site.tokens)
    return show(
        call,
        "preferences.html",
        action=_action("preferences", read_token(call)),
        categories=sorted({*known, *preferences.categories}),
        chosen=preferences.categories,
        frequency=preferences.frequency,
        paused_until=until,
        pauses=_pauses(until),
        zone=preferences.zone,
        zones=zones() if call.site.settings.pace.own_hour else [],
        unsubscribe_url=_action("unsubscribe", call.site.mail_tokens.unsubscribe(subscriber)),
        has_bookmarks=visitor is not None and not call.site.is_erased(visitor),
        saved=saved,
    )


def _pauses(chosen: date | None) -> list[date]:
    """Return the days that a pause may last to: some weeks from today, and the one that was chosen, while it is to come."""
    today = now().date()
    return sorted({*(today + timedelta(weeks=weeks) for weeks in PAUSES), *([chosen] if chosen and chosen > today else [])})


async def _mail_links(call: Call, subscriber: str) -> Answer:
    cap = call.site.settings.newsletter.singles_per_day
    planned = await call.site.committer.submit(RequestMail(subscriber, "export", mail=fresh_id(), cap=cap))
    await ring(call.site.valkey)
    if not planned.value:
        return show_message(call, "Not today", "We have sent you enough mails for today. Please ask again tomorrow.")
    return show_message(call, "On its way", "A mail with links to your data is on its way to you.")


@endpoint("GET", "/newsletter/export", gives=HTML, problems=(410,), proof="linkToken")
@from_link
async def export_page(call: Call) -> Answer:
    """Show the button that downloads one's data."""
    _holder(call, "export")
    return show_button(call, "export", "Your data", "A copy of what we keep about you, as a JSON file.", "Download my data")


@endpoint("POST", "/newsletter/export", gives=JSON, problems=(410,), proof="linkToken")
@from_link
async def export_form(call: Call) -> Answer:
    """Return a copy of everything that is kept about a subscriber.

    With it comes what the visitor whose cookie is sent did, if its bookmarks are the subscriber's.
    """
    subscriber = _holder(call, "export")
    await count_write(call, subscriber)
    await call.read_body()
    visitor = find_visitor(call.head, call.site.tokens)
    state = fold(evolve, await call.site.log.whole(stream(subscriber)))
    own = [visitor] if state is not None and visitor in state.visitors else []
    found = await copy_subscriber(call.site.sources, subscriber, now(), own)
    headers = [(b"content-disposition", b'attachment; filename="your-data.json"'), (b"cache-control", b"private, no-store")]
    return Answer(msgspec.json.format(msgspec.json.encode(found)), 200, JSON, headers)


@endpoint("GET", "/newsletter/erase", gives=HTML, problems=(410,), proof="linkToken")
@from_link
async def erase_page(call: Call) -> Answer:
    """Show the button that erases a subscriber."""
    _holder(call, "erase")
    text = (
        "This destroys your address and preferences and, in the browser where you wrote them, your texts. It can't be undone."
    )
    return show_button(call, "erase", "Erase my data", text, "Erase my data")


@endpoint("POST", "/newsletter/erase", gives=HTML, problems=(410,), proof="linkToken")
@from_link
async def erase_form(call: Call) -> Answer:
    """Erase a subscriber, and what the visitor whose cookie comes along wrote, if its bookmarks are the subscriber's.

    The cookie is asked for since whoever holds a link isn't always who wrote the texts.
    """
    subscriber = _holder(call, "erase")
    await count_write(call, subscriber)
    await call.read_body()
    site = call.site
    erased = await erase_subscriber(site.committer, site.valkey, site.settings.home, subscriber)
    visitor = find_visitor(call.head, site.tokens)
    if visitor is None or visitor not in erased.value.visitors:
        text = "Your address and your preferences are destroyed. Texts that you wrote here stay until you withdraw them."
        return show_message(call, "Your data is erased", text)
    await site.erase_visitor(visitor)
    return show_message(call, "Your data is erased", "Your address, your preferences and the texts you wrote are destroyed.")


def _holder(call: Call, purpose: Purpose) -> str:
    """Return the subscriber that the link's token was made for. Raises BadInput, TokenInvalid."""
    return call.site.mail_tokens.read(purpose, read_token(call))


def _action(name: str, token: str) -> str:
    return f"/newsletter/{name}?token={quote(token)}"


def show_button(call: Call, name: str, heading: str, text: str, button: str) -> Answer:
    """Answer with a page of one button, which posts the link that led to the page."""
    return show(call, "button.html", heading=heading, text=text, action=_action(name, read_token(call)), button=button)
