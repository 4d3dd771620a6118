"""The words of refusals: those that say an address is dead, those that blame the sender, and those of passing troubles.

They are those that RFC 5321, the manuals of Postfix, Exim, Sendmail and qmail, Microsoft's list of non-delivery codes and the
postmaster pages of Gmail, Yahoo and AOL give as examples, each with its usual variants.
"""

import re
from collections.abc import Callable
from functools import cached_property
from typing import Final


class _AnyOf:
    """Patterns that are compiled when words are first held against them: that takes longer than many a command."""

    def __init__(self, *patterns: str) -> None:
        self._patterns = patterns

    @cached_property
    def search(self) -> Callable[[str], re.Match[str] | None]:
        """Find the first of them in words."""
        return re.compile("|".join(self._patterns), re.IGNORECASE).search


_WHO: Final = (
    r"(?:users?|rcpt|user ?(?:name|id)|recipients?|mail[- ]?box(?:es)?|accounts?"
    r"|e?-?mail(?: address)?|address(?:ee)?|alias|name|person)"
)
_NAMED: Final = r"(?:[<\"'(\[]?\S+@\S+[>\"')\]]?,?:? )?"
_IS: Final = r"(?:(?:is|was|has been|have been|are|seems|with that name|in \S+(?: \S+)? table) )?"
_NOT: Final = (
    r"(?:(?:is |was |does |do |did |has |could |can )?(?:not|n[o']t|no longer|never)|isn.?t|wasn.?t|doesn.?t|cannot|couldn.?t)"
)
_KIND: Final = r"(?:(?:local|final|virtual|e?-?mail|delivery|destination|system|ldap) )*"

GONE: Final = _AnyOf(
    rf"\b{_WHO} {_NAMED}{_IS}(?:currently |permanently )?(?:unknown|invalid|disabled|deactivated|inactive|discontinued)\b",
    rf"\b{_WHO} {_NAMED}{_IS}(?:currently |permanently )?(?:suspended|closed|deleted|removed|expired|terminated)\b",
    rf"\b{_WHO} {_NAMED}{_NOT} (?:been |be )?(?:an? )?(?:exist|found|known|valid|active|activated|available|listed)",
    rf"\b{_WHO} {_NAMED}{_NOT} (?:been |be )?(?:an? )?(?:registered|recogni[sz]ed|local|in use|here|on this|in our)\b",
    rf"\b(?:unknown|non-?existent|no such|not a known|not a valid|invalid) (?:or \w+ )?{_KIND}{_WHO}\b",
    rf"\b(?:inactive|deactivated|disabled|deleted|illegal|bad|wrong|undefined) (?:or \w+ )?{_KIND}{_WHO}\b",
    rf"\bno (?:valid )?{_WHO} (?:here|by|with|of|at|matching|exists?|found|available|\()",
    rf"\bis not an? (?:active|valid|known|existing) {_KIND}{_WHO}\b",
    rf"\bcould ?n[o']t (?:find|be found)\b.{{0,60}}\b{_WHO}\b",
    r"\bno ?such ?user\b|\brecipient ?not ?found\b|\bnot our customer|\bnot a mailbox|\bbad ?rcpt ?to\b",
    r"\b(?:does not|doesn.?t|did not|didn.?t) have (?:an?|any) \S+ account\b|\bno account (?:here|by|with|at)\b",
    r"\baddress (?:you (?:sent|entered)|wasn.?t found|could ?n.t be found)|\bwas ?n[o']t found (?:at|in)\b",
    r"\bunknown in (?:local|virtual|relay)|\bnot listed in (?:domino|public|our)|\bunroute?able (?:mail )?(?:address|domain)",
    rf"\brecipient(?: address)? {_NAMED}rejected: access denied|\bmailbox unavailable",
    r"\baccount that you tried to reach (?:does not exist|is (?:disabled|inactive))|\bno longer (?:with|at|works|employed)\b",
    r"\b(?:unknown|no such|non-?existent|invalid|bad) (?:or \w+ )?(?:destination )?(?:domain|host)s?\b|\bnullmx\b",
    r"\b(?:illegal|invalid|bad) host/domain name\b|(?<!sender )(?<!from )\baddress rejected\b(?!:| by| due| for)",
    r"\b(?:host or domain name|domain(?: name)?|host) (?:\S+ )?(?:not found|unknown|does not exist|doesn.?t exist)",
    r"\bname or service not known\b|\bname service error for \S+ \S+ malformed (?:or unexpected )?name server reply",
    rf"\b{_WHO} is (?:wrong|incorrect)\b|\bno longer (?:a )?(?:valid|exist|active|in use)|\bnot a valid {_KIND}{_WHO}\b",
    r"\b(?:does|did) not (?:exactly )?match an? |\bno matches? (?:to|for|found)\b|\bnot have a final e?-?mail delivery point",
    r"\b(?:n.existe (?:pas|plus)|non recens|existiert nicht|no existe|non esiste|n.o existe|nie istnieje|bestaat niet)\b",
    r"\bне существует|\bне найден|見つかりません|存在しません|リストにありません",
)
"""No such mailbox or domain, or a mailbox that is closed."""

UNKNOWN: Final = _AnyOf(
    r"\b(?:no such|unknown|non-?existent) (?:user|mail ?box|recipient|account|address)\b|\bno mail[- ]?box found\b",
    r"\binvalid (?:user|mail ?box|recipient)\b",
    rf"\b(?:user|mail[- ]?box|recipient|account|address) {_NAMED}(?:is )?(?:unknown|not found|does not exist|doesn.?t exist)\b",
)
"""No such mailbox, in words so plain that they outweigh a code which speaks of policy."""

RETRY: Final = re.compile(r"\bhost not found,? try again", re.IGNORECASE)
"""What is said of a domain whose name servers didn't answer: it may well exist."""

OURS: Final = _AnyOf(
    r"\b(?:helo|ehlo)\b|\bgr[ae]y ?-?list|\breverse[- ]?dns|\br?dns (?:name|record|entry)|\bptr\b|\breverse (?:look|host)",
    r"\bsenders?\b|\boriginator\b|\breturn[- ]path|\benvelope[- ]from|\bmail from\b|\bfrom:? (?:address|header)|\bsent from\b",
    r"\brelay(?:ing)?\b.{0,30}\b(?:den|not|prohib|reject|allow|permit|refus)|\b(?:not|n.t|deny|unable to) relay|\bopen relay",
    r"\brcpthosts\b|\bauthenticat|\bauth\w* (?:is )?required|\bun-?authori[sz]ed|\bnot authori[sz]ed|\bstarttls\b|\blog ?in\b",
    r"\bpolicy\b|\bpolicies\b|\breputation|\babuse|\bcomplain|\bsuspicious|\bscor(?:e|ed)\b|\bchallenge|\bverif(?:y|ication)",
    r"spam|\bjunk|\bunsolicited|\bbulk\b|\bU[BC]E\b|\bvirus|\bmalware|\bphish|\binfected|\bspoof|\bfilter|\bcontent\b",
    r"\b(?:not|n.t|block|reject|remov|with|prohibit)\w* .{0,30}attachment"
    r"|\battachments? (?:\S+ )?(?:not|block|reject|type)|\b(?:black|block|white)[- ]?list"
    r"|\b\w*(?:dns|r|uri?|s)bl\b|\b(?:is listed|(?<!not )listed (?:in|on|by|at))\b",
    r"\bon (?:the|a) list\b|\b(?:spf|dkim|dmarc|arc)\b|\bblock(?:ed|ing)\b|\bbanned|\bforbidden|\bprohibited",
    r"\brestricted|\bprivate\b",
    r"\b(?:client|sending|connecting|your) (?:host|ip|server|address|network|mta|mail server|domain|site)",
    r"\baccess (?:is )?(?:denied|not allowed)|\bpermission|\bnot (?:permitted|allowed)|\bdelivery not authori",
    r"\b(?:sending|daily|hourly|message|outgoing)\b.{0,20}\b(?:limit|quota)\b|\bunusual rate|\brate[- ]?limit",
    r"\bheaders?\b|\bmalformed(?! (?:or unexpected )?name)|\bnon-?compliant|\brfc ?(?!822;)\d|\bsyntax|\bbare (?:lf|cr)",
    r"\bur[il]s?\b",
    r"\btoo (?:big|large)\b|\blarger? than|\b(?:message|mail|maximum|max) size|\bsize (?:limit|exceed)|\boversized?",
    r"\bnot accept(?:ed|ing)?\b(?! -+ invalid)|\brefuses? to",
    r"\b(?:mail|message) (?:was |has been )?(?:rejected|refused|blocked)",
)
"""The sender's name, network, login, reputation or rate, or what is in the mail."""

PASSING: Final = _AnyOf(
    r"\bfull\b|\bquota|\bover ?(?:its )?(?:disk |size )?limit|\bover (?:storage|allocat)|\bexceed(?:s|ed|ing)?\b|\bexhausted",
    r"\bstorage\b|\b(?:no|not enough|insufficient|out of) (?:\w+ )?(?:space|disk|storage|resources|memory)|\bmailbox size",
    r"\btoo (?:long|much|fast|quickly|many|often|old)\b|\btry (?:again|later)|\btempor|\btimed? ?-?out|\bretry time",
    r"\benvelope expired|\bexpired (?:in|after|message)|\bcurrently\b|\bat (?:this|the present) time|\bbusy\b",
    r"\bdeferred|\bdelayed",
    r"\bconnection (?:was )?(?:refused|reset|closed|lost|dropped|timed|fail)|\bunreachable|\bno route|\bnetwork\b|\bloop|\bhop",
    r"\b(?:could not|cannot|can.?t|unable to) (?:connect|open|write|create)|\bcommand died|\bnot responding|\bprocess\b",
    r"\bi/o error|\b(?:lookup|system|server|internal|configuration|software|local|resource) (?:failure|error|problem)",
)
"""A full mailbox or disk, a slow or broken way there, a delivery that was given up after many tries."""

RATE: Final = _AnyOf(
    r"\b4\.7\.(?:28|650|651|652|653|654|655|656)\b|\[?\bTSS?\d{2}\b|\bRP-00[1-3]\b|\bunusual rate\b|\brate[- ]?limit",
    r"\btoo many (?:messages|mails|connections|recipients|requests) (?:from|for your|per)\b|\bmail sent too (?:fast|quickly)",
    r"\b(?:sending|receiving|message|mail|delivery) rate\b|\bat a rate\b|\bthrottl(?:ed|ing) (?:due|because|for)\b",
    r"\btemporarily (?:deferred|rate[- ]limited|throttled) (?:due|because)|\bslow down\b",
    r"\b(?:low|poor|bad) (?:ip |domain |sender )?reputation\b|\bunsolicited\b",
)
"""How fast our mail comes: in words of Gmail's (4.7.28), Outlook's (4.7.650 to 656, RP-001) and Yahoo's (TSS04)."""
