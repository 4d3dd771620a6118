"""The newsletter's sign-up, and its confirmation by the link of a mail. No answer says what is known of an address.

Opening a link of a mail changes nothing; the button on its page does.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import wraps
from hashlib import sha256
from typing import Annotated, Final, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta

from emails.addresses import ADDRESS_LONGEST, AddressRefused, is_role, read_address
from events.commands.subscribers import ConfirmSubscription, RequestSubscription
from events.subscribers import LinkUsed, NotSubscribed
from projections import tools
from services.clock import fresh_id
from services.newsletter.consents import form_of
from services.newsletter.doorbell import ring
from services.newsletter.own_hours import is_zone
from services.newsletter.subscribers import new_person
from services.newsletter.tokens import TokenInvalid
from services.web.http.answers import NO_STORE, Answer, json_answer, redirect
from services.web.http.auth import bearer, find_visitor
from services.web.http.bodies import Input, fields, is_form
from services.web.http.endpoints import endpoint
from services.web.http.pages import HTML, page, post, public_page, show
from services.web.http.problems import BadInput
from services.web.http.queries import Query, QueryReader
from services.web.page_head import Head
from services.web.site import Call

_MOST_CATEGORIES: Final = 50
_EMAIL_MOST: Final = ADDRESS_LONGEST * 2
SIGN_UP: Final = ("/newsletter", "Sign up again")
"""The way back for those who left."""
LAST_ISSUE: Final = "select max(number) from newsletter.issues where state in ('planned', 'settled')"

Category = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
Categories = Annotated[list[Category], Meta(max_length=_MOST_CATEGORIES)]
Token = Annotated[str, Meta(min_length=1, max_length=300)]
Zone = Annotated[str, Meta(min_length=1, max_length=64, examples=["Europe/Berlin"])]


class SignUp(Input, frozen=True, kw_only=True):
    """An address, the categories to read about (none: all), and the time zone whose hour issues keep to, of a new reader.

    A site that sends to all readers at one hour keeps no zone.
    """

    email: Annotated[str, Meta(max_length=_EMAIL_MOST)]
    categories: Categories = msgspec.field(default_factory=list)
    zone: Zone | None = None


class SignUpAnswer(msgspec.Struct, frozen=True):
    """The same answer for every address, whatever is known of it."""

    status: Literal["pending"] = "pending"
    detail: str = "If this address can be signed up, a mail is on its way to it."


class Confirmation(Input, frozen=True, kw_only=True):
    """The token of a confirmation mail."""

    token: Token


class ConfirmationAnswer(msgspec.Struct, frozen=True):
    """The state of a subscription that was just confirmed."""

    status: Literal["confirmed"] = "confirmed"


class LinkQuery(Query, frozen=True, kw_only=True):
    """The query of a mail's link."""

    token: Token


_link_query: Final = QueryReader(LinkQuery)


async def offered_categories(call: Call) -> list[str]:
    """Return the names of the catalog's categories: what readers may choose from."""
    return [category.name for category in await tools.categories(call.site.reading)]


def check_zone(zone: str) -> None:
    """Refuse a name that is no time zone's. Raises BadInput."""
    if not is_zone(zone):
        raise BadInput.at("/zone", "This is no time zone: use a name such as Europe/Berlin, or leave it out.")


async def sign_up(
    call: Call, email: str, categories: Iterable[str], offered: Collection[str], visitor: str | None, zone: str | None
) -> None:
    """Record that somebody asked for the newsletter at an address, and mail it soon. Raises AddressRefused, TooManyRequests.

    Nothing is sent to the address of a duty, such as `postmaster@`. The bookmarks of `visitor` join the subscription.
    """
    site = call.site
    address = read_address(email)
    call.add_limits(await site.limit_signup(call.network))
    if is_role(address):
        return
    command = RequestSubscription(
        new_person(site.vault, await site.finder(), address, zone if site.settings.pace.own_hour else None),
        set(categories),
        form_of(site.settings.pace),
        visitor,
        mail=fresh_id(),
        cap=site.settings.newsletter.singles_per_day,
        hourly=site.settings.newsletter.signups_in_all_per_hour,
        offered=offered,
    )
    await site.committer.submit(command)
    await ring(site.valkey)


@endpoint("POST", "/v1/newsletter/subscriptions", takes=SignUp, gives=SignUpAnswer, statuses=(202,))
async def post_subscription(call: Call, given: SignUp) -> SignUpAnswer:
    """Sign an address up: it gets a mail with a link to confirm, or to its preferences if it is confirmed.

    The bookmarks of a visitor whose token is the Bearer join the subscription; a cookie alone joins none.
    """
    token = bearer(call.head)
    visitor = call.site.tokens.visitor_of(token) if token else None
    if given.zone is not None:
        check_zone(given.zone)
    try:
        await sign_up(call, given.email, given.categories, await offered_categories(call), visitor, given.zone)
    except AddressRefused as error:
        raise BadInput.at("/email", str(error)) from None
    return SignUpAnswer()


@endpoint("POST", "/v1/newsletter/confirm", takes=Confirmation, gives=ConfirmationAnswer, problems=(410,), form=True)
async def post_confirmation(call: Call, given: Confirmation) -> Answer:
    """Confirm a subscription by the token of its mail, which works once. A form is answered with a page."""
    is_page = is_form(call.head.get(b"content-type"))
    try:
        subscriber, round_ = call.site.mail_tokens.read_confirm(given.token)
        token = sha256(given.token.encode()).hexdigest()
        await call.site.committer.submit(ConfirmSubscription(subscriber, round_, form_of(call.site.settings.pace), token))
    except (TokenInvalid, LinkUsed):
        if not is_page:
            raise
        text = "If you confirmed by it, you are subscribed, and there is nothing left to do. Otherwise sign up again."
        return show_message(call, "This link was used or is too old", text, 410, [SIGN_UP])
    if is_page:
        return await _show_subscribed(call, subscriber)
    return json_answer(ConfirmationAnswer(), headers=NO_STORE)


async def _show_subscribed(call: Call, subscriber: str) -> Answer:
    """Welcome a reader: with the way to the last issue, if there is one, and to the preferences."""
    last = await call.site.reading.fetchval(LAST_ISSUE)
    preferences = f"/newsletter/preferences?token={quote(call.site.mail_tokens.issue('manage', subscriber))}"
    links = [(preferences, "Choose what you get")] + ([(f"/issues/{last}", "Read the last issue")] if last else [])
    text = "You will get the next issue. Every mail has a link to your preferences."
    return show_message(call, "You are subscribed", text, links=links)


_HEAD: Final = Head(
    path="/newsletter",
    title="Get the next verdicts by mail",
    description="One mail a week: new comparisons, verdicts that moved, and where the panel and its readers disagree.",
)


@page("/newsletter", Query)
async def newsletter_page(call: Call, query: Query) -> Answer:
    """Show the form to sign up."""
    categories = await offered_categories(call)
    return show(call, "newsletter.html", cache=public_page(call), head=_HEAD, categories=categories, email="", wrong=None)


@post("/newsletter")
async def sign_up_form(call: Call) -> Answer:
    """Sign an address up; the page that follows is the same for every address."""
    sent = fields(await call.read_body())
    email = sent.get("email", [""])[-1]
    categories = await offered_categories(call)
    visitor = find_visitor(call.head, call.site.tokens) if "bookmarks" in sent else None
    zone = sent.get("zone", [""])[-1]  # a browser's word for it may be one that we don't know
    try:
        await sign_up(call, email[:_EMAIL_MOST], sent.get("category", []), categories, visitor, zone if is_zone(zone) else None)
    except AddressRefused as error:
        wrong = f"This address can't be signed up: {error}."
        return show(call, "newsletter.html", status=400, head=_HEAD, categories=categories, email=email, wrong=wrong)
    return redirect("/newsletter/sent")


@page("/newsletter/sent", Query)
async def sent_page(call: Call, query: Query) -> Answer:
    """Say that a mail is on its way, whatever is known of the address."""
    return show(call, "newsletter_sent.html", cache=public_page(call), outbox=call.site.settings.smtp_url is None)


def from_link(function: Callable[[Call], Awaitable[Answer]]) -> Callable[[Call], Awaitable[Answer]]:
    """Return a page that answers 410, with an explanation, where the mail's link to it no longer works."""

    @wraps(function)
    async def answer(call: Call) -> Answer:
        try:
            return await function(call)
        except TokenInvalid:
            if _is_of_test(call):
                text = "It came to try the mail out, so its links do nothing. Those of an issue lead to its reader's own pages."
                return show_message(call, "This link is of a test mail", text)
            text = (
                "It is too old, or was changed on its way. The newest mail from us has one that works."
                " If you have none, sign up again, and we mail you a new link."
            )
            return show_message(call, "This link no longer works", text, 410, [SIGN_UP])
        except NotSubscribed:
            text = "So there is nothing to choose here, and we send you no issues. You can sign up again at any time."
            return show_message(call, "You are not subscribed", text, 410, [SIGN_UP])

    return answer


def _is_of_test(call: Call) -> bool:
    """Tell whether a link of a test mail leads here."""
    try:
        return call.site.mail_tokens.is_test(read_token(call))
    except BadInput:
        return False


def read_token(call: Call) -> str:
    """Return the token of the mail's link that leads here. Raises BadInput."""
    try:
        return _link_query.read(call.scope["query_string"]).token
    except BadInput:
        raise BadInput("This page opens by a link in one of our mails. The address here lacks the end of it.") from None


@endpoint("GET", "/newsletter/confirm", gives=HTML, problems=(410,), proof="linkToken")
@from_link
async def confirm_page(call: Call) -> Answer:
    """Show the button that confirms a subscription."""
    token = read_token(call)
    call.site.mail_tokens.read_confirm(token)
    return show(call, "confirm.html", token=token)


def show_message(call: Call, heading: str, text: str, status: int = 200, links: Sequence[tuple[str, str]] = ()) -> Answer:
    """Answer with a page of one message; each link is a path of this site and its label."""
    eyebrow = call.site.settings.identity.newsletter_name
    return show(call, "message.html", status=status, eyebrow=eyebrow, heading=heading, text=text, links=links)
