"""The names under which people of a provider stand in the log: none can be mistaken for another's."""

from typing import Any

import pytest

from services.operators.people import name_of

ISSUER = "https://id.example"


@pytest.mark.parametrize(
    "wanted",
    ["Operator", "оperator", "Operat0r", "opérator", "ｓhell:ann", "Shell", "ANN", "ann ", "ａnn", "Анн"],
)
async def test_a_name_that_looks_like_another_gets_letters(connection: Any, wanted: str) -> None:
    """By its case, width, accents, digits or a script of its own; the first who came keeps the plain name."""
    assert await name_of(connection, ISSUER, "1", "ann", ["operator"]) == "ann"
    name = await name_of(connection, ISSUER, "2", wanted, ["operator"])
    assert name.startswith(f"{wanted.strip()} ") and len(name.split()[-1]) == 8
    assert await name_of(connection, ISSUER, "1", wanted, ["operator"]) == "ann"
    assert await name_of(connection, ISSUER, "3", "José", ["operator"]) == "José"
