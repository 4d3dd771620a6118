"""What a digest and a reader of it look like."""

import re
from base64 import b64decode
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

from emails.message import From, Reader, prepare
from emails.rendering import RenderedMail, render, render_own, render_shared

SITE = "https://verdicts.example.com"
BOOKMARKS = f"{SITE}/bookmarks"
WHEN = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SENDER = From("Weekly AI Tool Verdicts", "digest@verdicts.example.com")
LIST_ID = "weekly.verdicts.example.com"


def tool(name: str) -> dict[str, Any]:
    """Return a tool's name and link."""
    return {"name": name, "url": f"{SITE}/tools/{name.lower().replace(' ', '-')}"}


SETTLED = {"verdict_line": "Ship, settled", "leads": True}
UNSETTLED = {"verdict_line": "Too early to call", "leads": False}

CHECKPOINT = (
    "verdicts.example.com/log/1\n123460\nRRlZNDSBOVuYJjBHZ9Cs9Bt4R2hBXVcZi5xDqPyu63A=\n\n"
    "— verdicts.example.com/log/1 "
    "hzA0hr6nTAwXCRYGu5VUJFPnCKBeVcSYB1Q0UHYGUnmL9gDqjoR/vkqEUCTlgCPPM0hQmnqCTv7wGTqLMHbJIKuzKwI=\n"
    "— witness.example.net AAAAAB+OUnUG5VUJFPnCKBeVcSYB1Q0UHYGUnmL9gDqjoR/vkqEUCTlgCPPM0hQmnqCTv7wGTqLMHbJIKuzKwEYdoB5bTw==\n"
)

CONTENT: dict[str, Any] = {
    "number": 12,
    "edition": "weekly",
    "period": {"from": "2026-11-16", "to": "2026-11-22"},
    "quiet": False,
    "newly_settled": [
        {**tool("Windsurf"), "ship_percent": 71, "total": 212, "settled": "ship", "verdict_line": "Ship, settled"}
    ],
    "new_comparisons": [
        {
            "title": "Mistral 3 Small (24B) vs OpenRouter Model Fusion",
            "url": f"{SITE}/vs/1",
            "line": "Mistral 3 Small (24B): 63% ship of 40 votes",
        },
        {"title": "Cursor <Agent> vs Windsurf & Friends", "url": f"{SITE}/vs/2?x=1&y=2", "line": ""},
    ],
    "new_tools": [{**tool("Très Tool"), "tagline": "Änderungen über Nacht", "panel_line": "Ship · 3 ship / 1 skip"}],
    "movers": [
        {**tool("Warp Terminal"), "before_percent": 71, "after_percent": 58, "votes": 1, **UNSETTLED},
        {**tool("Mistral 3 Small (24B)"), "before_percent": 48, "after_percent": 63, "votes": 1320, **SETTLED},
    ],
    "closest": [{**tool("Codex CLI"), "ship_percent": 49, "total": 902, "likely": [43.9, 54.2]}],
    "disagreements": [
        {
            **tool("Devin"),
            "panel_line": "Skip · 1 ship / 3 skip",
            "community_line": "67% ship · 402 ship / 198 skip",
            "verdict_line": "Ship, settled",
        }
    ],
    "more": {"newly_settled": "", "new_comparisons": "", "new_tools": "at least 42 more"},
    "lists": {
        "newly_settled": f"{SITE}/tools?sort=settled",
        "new_comparisons": f"{SITE}/comparisons",
        "new_tools": f"{SITE}/tools",
    },
    "settled_url": f"{SITE}/settled",
    "best_review": {
        "tool_name": "Codex CLI",
        "url": f"{SITE}/tools/codex-cli",
        "verdict": "ship",
        "score": 84,
        "text": "I gave it the ugliest module we own.\n\n.\nFrom there it went well. <b>Not</b> bold.",
        "display_name": "Ana M.",
        "ties": "given",
        "ties_line": "Was given something for it",
    },
    "archive_url": f"{SITE}/issues/12",
    "to_position": 123456,
    "checkpoint": CHECKPOINT,
    "origin": "verdicts.example.com/log/1",
    "root": "RRlZNDSBOVuY",
    "proof_url": f"{SITE}/proof",
    "postal_address": "Verdicts & Sons, 1 Main Street, Springfield",
}

# A quiet issue has no lists, so its mail never looks at `more` and `lists`.
QUIET: dict[str, Any] = {
    **{name: value for name, value in CONTENT.items() if name not in {"more", "lists"}},
    "quiet": True,
    "newly_settled": [],
    "new_comparisons": [],
    "new_tools": [],
    "movers": [],
    "closest": [],
    "disagreements": [],
    "best_review": None,
}

BOOKMARKED = [{**tool("Warp Terminal"), "line": "58% ship, down from 71% · 212 votes"}]
UNSUBSCRIBE = f"{SITE}/newsletter/unsubscribe?token=AbC-123_x&k=1"
MANAGE = f"{SITE}/newsletter/preferences?token=ZyX"
PERSONAL: dict[str, Any] = {"bookmarked": BOOKMARKED, "unsubscribe_url": UNSUBSCRIBE, "manage_url": MANAGE}

READER = Reader("ana@example.com", "<12.abc@verdicts.example.com>", WHEN, UNSUBSCRIBE, MANAGE)

SINGLE_MAILS: dict[str, dict[str, Any]] = {
    "confirmation": {"confirm_url": f"{SITE}/newsletter/confirm?token=abc", "valid_hours": 48},
    "preferences": {"manage_url": MANAGE},
    "export": {"export_url": f"{SITE}/export?token=a&b=1", "erase_url": f"{SITE}/erase?token=b", "valid_hours": 1},
}


def rendered(mail: Any, values: dict[str, Any]) -> RenderedMail:
    """Return a mail as it is read, a digest with the `bookmarked`, `unsubscribe_url` and `manage_url` of its reader."""
    if mail != "digest":
        return render(mail, values)
    links = {name: values[name] for name in ("unsubscribe_url", "manage_url")}
    reader = READER._replace(own=render_own(values["bookmarked"], BOOKMARKS), **links)
    return prepare(render_shared(values), SENDER, LIST_ID).rendered(reader)


def notes_of(raw: bytes) -> tuple[str, str]:
    """Return the note in a mail's header and the one in its text."""
    mail = message_from_bytes(raw, policy=policy.default)
    part = mail.get_body(("plain",))  # type: ignore[attr-defined]
    found = re.search(r"^\S+/log/1\n\d+\n\S+\n\n(?:— .*\n)+", part.get_content().replace("\r\n", "\n"), re.MULTILINE)
    assert found is not None
    return b64decode("".join(mail["Ballotpress-Checkpoint"].split())).decode(), found[0]


BOUNCE = b"""From: MAILER-DAEMON@relay.example
To: digest@verdicts.example
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

It could not be delivered.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example

Final-Recipient: rfc822; ada@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b
Content-Type: text/rfc822-headers

Message-ID: <%s>
Subject: Issue 1

--b--
"""
"""A hard bounce; %s is the Message-ID of the mail that came back."""
