"""Tell asyncpg of PostgreSQL's own array types, which it asks each new session's server for: 10 ms of its processor a time."""

from typing import Any, Final

from asyncpg import Connection

# Built into the server, so they have the same numbers everywhere: each array's name and number, and its elements' number.
_ARRAYS: Final = (
    ("_bool", 1000, 16),
    ("_bytea", 1001, 17),
    ("_name", 1003, 19),
    ("_int2", 1005, 21),
    ("_int4", 1007, 23),
    ("_int8", 1016, 20),
    ("_varchar", 1015, 1043),
    ("_float4", 1021, 700),
    ("_float8", 1022, 701),
    ("_inet", 1041, 869),
    ("_timestamp", 1115, 1114),
    ("_date", 1182, 1082),
    ("_timestamptz", 1185, 1184),
    ("_interval", 1187, 1186),
    ("_numeric", 1231, 1700),
    ("_uuid", 2951, 2950),
    ("_json", 199, 114),
    ("_jsonb", 3807, 3802),
)
_TYPES: Final = [
    {
        "oid": oid, "ns": "pg_catalog", "name": name, "kind": b"b", "elemtype": element, "elemdelim": b",",
        "basetype": None, "range_subtype": None, "attrtypoids": None, "attrnames": None,
    }
    for name, oid, element in _ARRAYS
]  # fmt: skip
"""The rows that asyncpg's own question would bring."""


def know(connection: "Connection[Any]") -> None:
    """Let a session's statements have arrays without asking the server what they are; of other types asyncpg asks as ever."""
    connection._protocol.get_settings().register_data_types(_TYPES)  # type: ignore[attr-defined]
