"""What an issue carries: the headers that providers ask of bulk mail, covered by the signature, and its size."""

import re
from collections.abc import Collection
from typing import Final

from emails.rendering import HTML_BUDGET
from services.mail_check.lines import Line, Subject, right, unknown, wrong
from services.mail_check.setup import Setup, Specimen, organisation

ONE_CLICK: Final = "List-Unsubscribe=One-Click"

_HTTPS: Final = re.compile(r"<(https://[^>\s]+)>", re.IGNORECASE)
_LIST_ID: Final = re.compile(r"<([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)>\s*$")
_FEEDBACK: Final = re.compile(r"(?:[^\s:]*:){0,3}([^\s:]{5,15})")
_SET_URL: Final = "set BALLOTPRESS_BASE_URL to the site's https address, and serve it there"
_ONLY_SIGNED: Final = "providers trust it only when it is signed, so see the line on DKIM"
_SHORTEN: Final = "make the templates in BALLOTPRESS_THEME_DIR shorter"
_MEND: Final = "mend that, and run this again"
_REPORT_IT: Final = "this release made the mail: report it, with this line"


def check(setup: Setup) -> list[Line]:
    """Return the lines on an issue; all unknown if none could be written, but its size if that is why."""
    if setup.specimen is None:
        subjects: tuple[Subject, ...] = ("unsubscribe", "list-id", "feedback-id", "cfbl")
        says = f"No issue could be written: {setup.no_specimen}"
        size = wrong("size", says, _SHORTEN) if setup.is_too_large else unknown("size", says, _MEND)
        return [*(unknown(subject, says, _MEND) for subject in subjects), size]
    specimen = setup.specimen
    return [
        _unsubscribe(setup, specimen),
        _list_id(setup, specimen),
        _feedback_id(setup, specimen),
        _cfbl(setup, specimen),
        _size(specimen),
    ]


def _unsubscribe(setup: Setup, specimen: Specimen) -> Line:
    """Return whether mail programs offer to unsubscribe by one click (RFC 8058)."""
    if not setup.base_url.lower().startswith("https://"):
        says = f"Links to unsubscribe lead to {setup.base_url}, which isn't https, so mail programs offer no one click"
        return wrong("unsubscribe", says, _SET_URL)
    link = _HTTPS.search(specimen.header("List-Unsubscribe"))
    if link is None or not link[1].startswith(setup.base_url):
        return wrong("unsubscribe", "The issue has no List-Unsubscribe with an https link of this site", _REPORT_IT)
    if specimen.header("List-Unsubscribe-Post").strip() != ONE_CLICK:
        return wrong("unsubscribe", f"The issue has no List-Unsubscribe-Post: {ONE_CLICK}", _REPORT_IT)
    return _signed(setup, "unsubscribe", ("list-unsubscribe", "list-unsubscribe-post"), f"One click, at {setup.base_url}")


def _list_id(setup: Setup, specimen: Specimen) -> Line:
    """Return whether the list has a name of the sender's own (RFC 2919)."""
    found = _LIST_ID.search(specimen.header("List-Id"))
    if found is None:
        return wrong("list-id", "The issue has no List-Id that mail programs can read", _REPORT_IT)
    if organisation(found[1]) != organisation(setup.domain):
        return wrong("list-id", f"The List-Id {found[1]} isn't of the sender's domain {setup.domain}", _REPORT_IT)
    return _signed(setup, "list-id", ("list-id",), found[1])


def _feedback_id(setup: Setup, specimen: Specimen) -> Line:
    """Return whether Gmail can count complaints by it: up to three names, and the sender's own of 5 to 15 characters."""
    value = specimen.header("Feedback-ID").strip()
    if not _FEEDBACK.fullmatch(value):
        says = f"The issue has no Feedback-ID that Gmail takes, but: {value or 'none'}"
        return wrong("feedback-id", says, _REPORT_IT)
    return _signed(setup, "feedback-id", ("feedback-id",), value)


def _cfbl(setup: Setup, specimen: Specimen) -> Line:
    """Return whether providers know where to send complaints (RFC 9477): an address at the sender's own domain."""
    address = specimen.header("CFBL-Address").partition(";")[0].strip()
    if "@" not in address:
        return wrong("cfbl", "The issue has no CFBL-Address, so no provider knows where to send complaints", _REPORT_IT)
    if organisation(address.rpartition("@")[2]) != organisation(setup.domain):
        return wrong("cfbl", f"The CFBL-Address {address} isn't at the sender's domain {setup.domain}", _REPORT_IT)
    names = [name for name in ("CFBL-Address", "CFBL-Feedback-ID") if specimen.header(name)]
    return _signed(setup, "cfbl", [name.lower() for name in names], f"Complaints go to {address}")


def _signed(setup: Setup, subject: Subject, names: Collection[str], says: str) -> Line:
    """Return a right line if the signature covers these headers; only then are they believed."""
    if setup.key is None:
        return unknown(subject, f"{says}; whether the relay's signature covers it can't be seen from here", _ONLY_SIGNED)
    if setup.specimen is not None and setup.specimen.signed_headers.issuperset(names):
        return right(subject, f"{says}; signed")
    return wrong(subject, f"{says}; but our signature doesn't cover it", _REPORT_IT)


def _size(specimen: Specimen) -> Line:
    """Return whether Gmail shows the whole issue, with the link to unsubscribe at its end."""
    part = specimen.parsed.get_body(("html",))
    size = 0 if part is None else len(part.get_content().encode())
    if size > HTML_BUDGET:
        says = (
            f"The HTML of the issue has {size:,} bytes; Gmail cuts it off after {HTML_BUDGET:,}, before the link to unsubscribe"
        )
        return wrong("size", says, _SHORTEN)
    return right("size", f"The HTML of the running issue has {size:,} bytes of at most {HTML_BUDGET:,}")
