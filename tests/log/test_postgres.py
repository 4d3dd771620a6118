"""What every connection asks of the server, whatever the server's own settings are."""

from events.log import postgres


async def test_no_statement_is_compiled(dsn: str) -> None:
    """A server that compiles statements by default does not compile ours: the session itself says so."""
    connection = await postgres.connect(dsn, "test")
    row = await connection.fetchrow("select setting, source from pg_settings where name = 'jit'")
    await connection.close()
    assert row is not None and (row["setting"], row["source"]) == ("off", "client")
