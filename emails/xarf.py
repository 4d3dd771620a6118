"""Read complaints in the eXtended Abuse Reporting Format, which RFC 9477 allows beside ARF: JSON, in versions 3 and 4.

Versions before 3 are YAML in a text part of a mail whose header says so; their evidence is attached as any mail is.
"""

import binascii
import re
from collections.abc import Iterator
from email.message import Message
from typing import Any, Final

import msgspec

from emails.parts import decoded, field, own_parts, text_of

_TYPES: Final = frozenset({"application/json", "application/xarf+json"})
LARGEST: Final = 2 * 1024 * 1024
"""Bytes of a report that are read as JSON."""
_SPAM: Final = frozenset({"spam", "bulk_messaging"})
_SIGNS: Final = re.compile(rb"json|^x-x?arf:", re.IGNORECASE | re.MULTILINE)
_YAML_SPAM: Final = re.compile(r"^(?:report-type|category): *(?:spam|abuse)\s*$", re.IGNORECASE | re.MULTILINE)


def may_be(raw: bytes) -> bool:
    """Return whether a mail may be such a report; most are none, and are told so without being read."""
    return _SIGNS.search(raw) is not None


def is_complaint(mail: Message) -> bool:
    """Return whether a mail is a report on spam in this format, in any version."""
    if any(str(report["type"]).lower() in _SPAM for report in _reports(mail)):
        return True
    is_old = field(mail, "X-XARF") != "" or field(mail, "X-ARF").lower() == "yes"
    return is_old and any(
        _YAML_SPAM.search(text_of(part)) for part in own_parts(mail) if part.get_content_type() == "text/plain"
    )


def samples(mail: Message) -> Iterator[str]:
    """Return the evidence in the reports of a mail as text."""
    for report in _reports(mail):
        for sample in report["samples"]:
            payload = str(sample.get("Payload") or sample.get("payload") or "")
            yield payload
            yield _unpacked(payload)


def _unpacked(payload: str) -> str:
    try:
        return binascii.a2b_base64(payload, strict_mode=False).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _reports(mail: Message) -> Iterator[dict[str, Any]]:
    """Return the type and the samples of each report."""
    for part in own_parts(mail):
        if part.get_content_type() in _TYPES or (
            part.get_content_subtype() == "octet-stream" and part.get_filename() == "xarf.json"
        ):
            try:
                read = msgspec.json.decode(decoded(part)[:LARGEST], type=dict[str, Any])
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            inner = read.get("Report")
            report = inner if isinstance(inner, dict) else read
            found = report.get("Samples") or report.get("evidence") or []
            named = report.get("ReportType") or report.get("type")
            known = [sample for sample in found if isinstance(sample, dict)] if isinstance(found, list) else []
            yield {"type": named, "samples": known}
