"""The newsletter for programs: sign up, confirm, read and set preferences. The pages are in `routes_reader_pages`."""

from collections.abc import Iterable
from datetime import date
from hashlib import sha256
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from emails.addresses import ADDRESS_LONGEST, AddressRefused, read_address
from events.commands.subscribers import ConfirmSubscription, RequestSubscription, SetPreferences
from events.log.event import fold
from events.subscribers import Frequency, LinkUsed, NotSubscribed, Subscriber, evolve, stream
from services.clock import fresh_id
from services.newsletter.sender import ring
from services.newsletter.subscribers import new_person
from services.newsletter.tokens import TokenInvalid
from services.web.http.answers import NO_STORE, Answer, json_answer
from services.web.http.auth import bearer, find_visitor
from services.web.http.bodies import Input, is_form
from services.web.http.endpoints import endpoint
from services.web.http.pages import show
from services.web.http.problems import BadInput, NoToken
from services.web.site import Call

FORM: Final = "sign-up 1"
"""The version of the words people agree to; new words, new name."""

Category = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
Categories = Annotated[list[Category], Meta(max_length=50)]
Token = Annotated[str, Meta(min_length=1, max_length=300)]


class SignUp(Input, frozen=True, kw_only=True):
    """An address, and the categories it wants to read of (none: all)."""

    email: Annotated[str, Meta(max_length=ADDRESS_LONGEST * 2)]
    categories: Categories = msgspec.field(default_factory=list)


class SignedUp(msgspec.Struct, frozen=True):
    """The same for every address, whatever is known of it."""

    status: Literal["pending"] = "pending"
    detail: str = "If this address can be signed up, a mail is on its way to it."


class Confirm(Input, frozen=True, kw_only=True):
    """The token of a confirmation mail."""

    token: Token


class Confirmed(msgspec.Struct, frozen=True):
    """The subscription runs."""

    status: Literal["confirmed"] = "confirmed"


class Preferences(Input, frozen=True, kw_only=True):
    """What to get (no category: all), how often, and until which day nothing."""

    categories: Categories
    frequency: Frequency
    paused_until: date | None = None


@endpoint("POST", "/v1/newsletter/subscriptions", takes=SignUp, gives=SignedUp, statuses=(202,), problems=(429,))
async def sign_up(call: Call, wanted: SignUp) -> SignedUp:
    """Sign an address up: it gets a mail with a link to confirm, or to its preferences if it is confirmed."""
    try:
        address = read_address(wanted.email)
    except AddressRefused as error:
        raise BadInput.at("/email", str(error)) from None
    await request_subscription(call, address, wanted.categories)
    return SignedUp()


async def request_subscription(call: Call, address: str, categories: Iterable[str]) -> None:
    """Record that somebody asked for the newsletter at an address that `read_address` gave, within the limits; mail it soon.

    TooManyRequests.
    """
    site = call.site
    call.add_headers(tuple(await site.limit_signup(call.network)))
    command = RequestSubscription(
        new_person(site.vault, await site.finder(), address),
        sorted(set(categories)),
        FORM,
        find_visitor(call.head, site.tokens),
        mail=fresh_id(),
        cap=site.settings.newsletter.singles_per_day,
    )
    await site.committer.submit(command)
    await ring(site.valkey)


@endpoint("POST", "/v1/newsletter/confirm", takes=Confirm, gives=Confirmed, problems=(410,), form=True)
async def confirm(call: Call, given: Confirm) -> Answer:
    """Confirm a subscription by the token of its mail; once. A form is answered with a page."""
    from_form = is_form(call.head.get(b"content-type"))
    try:
        subscriber, round_ = call.site.mail_tokens.read_confirm(given.token)
        token = sha256(given.token.encode()).hexdigest()
        await call.site.committer.submit(ConfirmSubscription(subscriber, round_, FORM, token))
    except (TokenInvalid, LinkUsed):
        if not from_form:
            raise
        return tell(call, "This link was used or is too old", "If you still want the newsletter, sign up again.", 410)
    if from_form:
        return show(
            call,
            "message.html",
            heading="You are subscribed",
            text="The next issue is yours. Every mail has a link to your preferences.",
        )
    return json_answer(Confirmed(), headers=NO_STORE)


@endpoint("GET", "/v1/newsletter/preferences", gives=Preferences, problems=(401, 410))
async def preferences(call: Call) -> Answer:
    """Tell what a subscriber chose; `Authorization: Bearer` is the manage token of a mail."""
    return json_answer(chosen(await read_subscriber(call, _manager(call))), headers=NO_STORE)


@endpoint("PUT", "/v1/newsletter/preferences", takes=Preferences, gives=Preferences, problems=(401, 410))
async def set_preferences(call: Call, wanted: Preferences) -> Answer:
    """Choose what to get, how often, and a pause; `Authorization: Bearer` is the manage token of a mail."""
    return json_answer(chosen(await save(call, _manager(call), wanted)), headers=NO_STORE)


async def save(call: Call, subscriber: str, wanted: Preferences) -> Subscriber:
    """Set a subscriber's preferences; NotSubscribed."""
    until = wanted.paused_until.isoformat() if wanted.paused_until else None
    command = SetPreferences(subscriber, wanted.categories, wanted.frequency, until)
    return (await call.site.committer.submit(command)).value


async def read_subscriber(call: Call, subscriber: str) -> Subscriber:
    """Read a confirmed subscriber from the log; NotSubscribed."""
    state = fold(evolve, await call.site.log.whole(stream(subscriber)))
    if state is None or state.status != "confirmed":
        raise NotSubscribed
    return state


def chosen(state: Subscriber) -> Preferences:
    """Give a subscriber's preferences."""
    until = date.fromisoformat(state.paused_until) if state.paused_until else None
    return Preferences(categories=list(state.categories), frequency=state.frequency, paused_until=until)


def _manager(call: Call) -> str:
    token = bearer(call.head)
    try:
        return call.site.mail_tokens.read("manage", (token or b"").decode("ascii", "replace"))
    except TokenInvalid:
        raise NoToken("This needs the manage token of a mail.") from None


def tell(call: Call, heading: str, text: str, status: int = 200) -> Answer:
    """Answer with a page of one message."""
    return show(call, "message.html", status=status, heading=heading, text=text)


def too_old(call: Call) -> Answer:
    """Answer whoever comes by a link that doesn't work any more."""
    return tell(call, "This link doesn't work any more", "It is too old, or was changed on its way.", 410)
