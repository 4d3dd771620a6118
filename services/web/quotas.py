"""Quotas: how much one visitor, and one network, may do of what. Each is said to whoever used it up."""

from typing import Final

from services.settings import Settings
from services.web.http.counters import Limit
from services.web.http.networks import Share

COPIES_PER_HOUR: Final = 20
"""Of a visitor's data, for the visitor."""
_MINUTE: Final = 60
_HOUR: Final = 3600


class Quotas:
    """The limits on writes, as the settings have them; those on sign-ups for the newsletter are in `sign_ups.py`."""

    def __init__(self, settings: Settings) -> None:
        own, of_network, new = settings.writes_per_minute, settings.network_writes_per_minute, settings.new_visitors_per_hour
        changes, first, few = settings.changes_per_day or own, settings.first_votes_per_hour or new, max(1, of_network // 20)
        reviews = settings.reviews_per_hour or max(1, new // 10)
        self.visitor_writes = Limit("visitor", own, _MINUTE, "writes of one caller", is_lent=False)
        self.changes = Limit("changes", changes, 24 * _HOUR, "changes of one vote", is_lent=False)
        self.copies = Limit("copies", COPIES_PER_HOUR, _HOUR, "copies of one visitor's data", is_lent=False)
        self.network_writes = Share("network", of_network, _MINUTE, "writes")
        self.new_visitors = Share("new-visitors", new, _HOUR, "new visitors")
        self.first_votes = Share("first-votes", first, _HOUR, "first votes on one tool")
        self.reviews = Share("reviews", reviews, _HOUR, "reviews, edits and reports")
        self.guesses = Share("guesses", few, 10 * _MINUTE, "wrong operators' tokens")
        self.sign_ins = Share("sign-ins", few, 10 * _MINUTE, "operators' sign-ins by a token")
