"""Mails that come back to us, read into reports."""

from hashlib import blake2b
from typing import Final

from emails.bounces import classify
from services.newsletter.reports import Kind, Reported

_MAILED: Final[dict[str, Kind]] = {"hard_bounce": "hard", "soft_bounce": "soft", "complaint": "complaint"}


def read_mail(raw: bytes) -> list[Reported]:
    """Read a mail that came back to us; nothing unless it is a bounce or complaint about a mail of ours.

    Anybody can write such a mail: only a Message-ID of ours, which its reader alone has seen, is believed, no address.
    """
    report = classify(raw)
    kind = _MAILED.get(report.kind)
    if kind is None or report.message_id is None:
        return []
    fingerprint = blake2b(f"{report.kind} {report.message_id}".encode(), digest_size=16, person=b"mail").digest()
    code = next((recipient.status for recipient in report.recipients if recipient.status), None)
    return [Reported(kind=kind, fingerprint=fingerprint, message_id=report.message_id, code=code)]
