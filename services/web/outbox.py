"""The outbox: where no mail relay is set, the mails that would have been sent, shown on this machine alone."""

from typing import Final

from services.newsletter import outbox
from services.web.http.answers import Answer
from services.web.http.endpoints import endpoint
from services.web.http.pages import HTML, SECRET, show
from services.web.http.problems import NotFound
from services.web.site import Call

TEXT: Final = b"text/plain; charset=utf-8"
_LOOPBACK: Final = ("127.0.0.0/24", "::/64", "local")


def _require_outbox(call: Call) -> None:
    """Refuse callers on other machines, since the mails hold working links. Raises NotFound, also where mails are sent."""
    if call.site.settings.smtp_url is not None or call.network[0].name not in _LOOPBACK:
        raise NotFound("There is no outbox here.")


@endpoint("GET", "/outbox", gives=HTML, problems=(404,))
async def outbox_page(call: Call) -> Answer:
    """List the mails that were kept instead of being sent."""
    _require_outbox(call)
    return show(call, "outbox.html", mails=[mail.name for mail in outbox.filed(call.site.settings.home)])


@endpoint("GET", "/outbox/{mail}", gives=TEXT)
async def get_mail(call: Call) -> Answer:
    """Return a mail as it would have been sent."""
    _require_outbox(call)
    found = outbox.read(call.site.settings.home, call.path["mail"])
    if found is None:
        raise NotFound("There is no such mail.")
    return Answer(found, 200, TEXT, SECRET)
