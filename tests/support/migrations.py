"""Databases as earlier releases left them."""

import asyncpg
import pytest

from events.log import migrate


def know_up_to(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this release know the migrations up to a number alone, as an earlier one did."""
    known = [one for one in migrate._migrations() if one[0] <= number]
    monkeypatch.setattr(migrate, "_migrations", lambda: known)


async def bring_to(number: int, dsn: str) -> None:
    """Migrate an empty database as far as an earlier release did."""
    connection = await asyncpg.connect(dsn)
    try:
        with pytest.MonkeyPatch.context() as monkeypatch:
            know_up_to(number, monkeypatch)
            await migrate.migrate(connection)
    finally:
        await connection.close()
