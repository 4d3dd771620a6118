"""Limits on sign-ups to the newsletter, each of which sends a mail: a network's own, and everybody's together."""

from typing import Final

from services.setting_groups import Newsletter
from services.web.http.counters import Headers, Limit
from services.web.http.limits import Limits
from services.web.http.networks import Network, Share
from services.web.http.problems import TooManyRequests

_HOUR: Final = 3600


class SignUps:
    """The limits on sign-ups, as the settings have them."""

    def __init__(self, newsletter: Newsletter) -> None:
        self._own = Share("sign-ups", newsletter.signups_per_hour, _HOUR, "sign-ups for the newsletter")
        self._first = Share("first-sign-ups", 1, _HOUR, "first sign-up")
        most = -(-newsletter.signups_in_all_per_hour // 2)
        self._further = Limit("further-sign-ups", most, _HOUR, "further sign-ups for the newsletter from all networks together")

    async def take(self, limits: Limits, network: Network) -> Headers:
        """Count a sign-up. Raises TooManyRequests.

        A network's first of an hour is never refused because of others. All further ones share half of the hour's mails, so
        that few networks that ask a lot leave the other half to those that have not asked yet.
        """
        own = self._own.counters(network)
        return await limits.take(*own, *(() if await self._is_first(limits, network) else [(self._further, "all")]))

    async def _is_first(self, limits: Limits, network: Network) -> bool:
        try:
            await limits.take(*self._first.counters(network))
        except TooManyRequests:
            return False
        return True
