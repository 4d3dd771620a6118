"""The operators' pages: which there are, and how one is rendered."""

from typing import Any, Final

from services.settings import OperatorToken
from services.web.http.answers import Answer
from services.web.http.call import Call
from services.web.http.pages import show, signed_in

ENTRIES: Final = (
    ("read", "/ops", "Overview"),
    ("moderate", "/ops/reviews", "Moderation"),
    ("voters", "/ops/voters", "Voters"),
    ("read", "/ops/quarantine", "Quarantine"),
    ("read", "/ops/log", "Log"),
)
"""The operators' pages: the scope that each needs, its path and its name."""


def first_page(operator: OperatorToken) -> str:
    """Return the first page that an operator's scopes open; the overview, which says what is missing, if none does."""
    return next((path for scope, path, _ in ENTRIES if scope in operator.scopes), "/ops")


def show_ops(call: Call, template: str, here: str, **values: Any) -> Answer:
    """Render an operator's page; nobody may keep it."""
    operator = signed_in(call)
    entries = [entry for entry in ENTRIES if operator is not None and entry[0] in operator.scopes]
    return show(call, template, ops_here=here, operator=call.operator, entries=entries, **values)
