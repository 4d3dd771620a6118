"""The API with two more handlers to compare with: constants behind the same edge, token check, body and limits."""

import sys
from typing import Final

import msgspec

from projections.tally import community
from services.settings import read_settings
from services.web import app
from services.web.http.answers import Answer, Versioned
from services.web.http.auth import require_visitor
from services.web.http.call import ANYONE, VISITOR
from services.web.http.endpoints import endpoint
from services.web.http.queries import Query
from services.web.site import Call
from services.web.votes import VoteAnswer, VoteChoice

_ANSWER: Final = VoteAnswer("tool-0", "ship", community(10, 5), 1)


class Constant(msgspec.Struct, frozen=True):
    """What the constant handlers answer."""

    text: str


_CONSTANTS: dict[int, Versioned] = {}


@endpoint("PUT", "/bench/{tool}/limited", by=VISITOR, takes=VoteChoice, gives=VoteAnswer)
async def limited(call: Call, vote: VoteChoice) -> VoteAnswer:
    """Do all that a vote does but append it."""
    return _ANSWER


@endpoint("PUT", "/bench/{tool}/unlimited", by=ANYONE, takes=VoteChoice, gives=VoteAnswer, counted=False)
async def unlimited(call: Call, vote: VoteChoice) -> VoteAnswer:
    """Do all that a vote does but append it and count it against limits."""
    require_visitor(call.head, call.site.tokens)
    return _ANSWER


@endpoint("GET", "/bench/constant/{tool}", takes=Query, gives=Constant)
async def constant(call: Call, query: Query) -> Answer:
    """Answer as many bytes as the path says."""
    size = int(call.path["tool"])
    if size not in _CONSTANTS:
        _CONSTANTS[size] = Versioned(b'{"text":"' + b"x" * (size - 11) + b'"}')
    return _CONSTANTS[size].answer(None)


if __name__ == "__main__":
    app.ROUTES += [limited, unlimited, constant]
    app.run(read_settings(), "127.0.0.1", int(sys.argv[1]))
