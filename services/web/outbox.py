"""The outbox, for whoever tries the site out on this machine: the mails that no relay is there to send."""

from typing import Final

from services.newsletter import outbox
from services.web.http.answers import Answer
from services.web.http.endpoints import endpoint
from services.web.http.pages import HTML, SECRET, show
from services.web.http.problems import NotFound
from services.web.site import Call

TEXT: Final = b"text/plain; charset=utf-8"
_LOOPBACK: Final = ("127.0.0.0/24", "::/64", "local")


def _must_be_here(call: Call) -> None:
    """Refuse (NotFound) where mails are sent, and whoever asks from another machine: these mails hold working links."""
    if call.site.settings.smtp_url is not None or call.network not in _LOOPBACK:
        raise NotFound("There is no outbox here.")


@endpoint("GET", "/outbox", gives=HTML, problems=(404,))
async def mails(call: Call) -> Answer:
    """List the mails that were kept instead of sent."""
    _must_be_here(call)
    return show(call, "outbox.html", mails=[mail.name for mail in outbox.filed(call.site.settings.home)])


@endpoint("GET", "/outbox/{mail}", gives=TEXT)
async def mail(call: Call) -> Answer:
    """Show a mail as it would have been sent."""
    _must_be_here(call)
    found = outbox.read(call.site.settings.home, call.path["mail"])
    if found is None:
        raise NotFound("There is no such mail.")
    return Answer(found, 200, TEXT, SECRET)
