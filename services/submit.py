"""Ask one thing of the log from a shell, through a committer of its own."""

from typing import Final, TypeVar

from events.log.command import Command, Receipt
from events.log.committer import Committer
from events.registry import REGISTRY
from services.settings import Settings

V = TypeVar("V")

OPERATOR: Final = "shell"
"""Who the log says it was; a shell knows no name that anyone vouches for."""
PATIENCE: Final = 30.0
"""Seconds; what an operator asks may take longer than a vote."""


async def submit(settings: Settings, command: Command[V]) -> Receipt[V]:
    """Submit a command and give its receipt; raise what its rule raises, LogUnavailable."""
    async with Committer(settings.database_url, REGISTRY, patience=PATIENCE) as committer:
        return await committer.submit(command)
