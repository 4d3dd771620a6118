"""How far a server's log of changes (WAL) reaches, told so that it compares with what a standby reports."""

from typing import Final

# `pg_current_wal_insert_lsn` says where the next record will begin: behind a page's header, where the last one ended with the
# page before. A standby reports the end of what it has, before the header. So an idle server would be ahead of it for good.
# 40 and 24 bytes are SizeOfXLogLongPHD (a segment's first page) and SizeOfXLogShortPHD of PostgreSQL's xlog_internal.h.
WRITTEN: Final = """(
    select lsn - case
        when lsn % pg_size_bytes(current_setting('wal_segment_size')) = 40 then 40
        when lsn % current_setting('wal_block_size')::bigint = 24 then 24
        else 0 end
    from (select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint as lsn) next_record
)"""
"""The end of the last record, in bytes since the first: an expression for a `select` list, at a server that takes writes."""
REPLAYED: Final = "coalesce((pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, 0)"
"""The end of the last record that a standby has replayed, likewise; 0 at one that has replayed nothing."""
