"""What bounces and complaints mean for a subscriber: RFC 3464 and RFC 5965 reports by mail, or a provider's call.

A hard bounce or a complaint suppresses at once; soft bounces do when three in a row span fifteen days or more, with no mail
taken by the relay in between that no report answered. The same report twice counts once.
"""
