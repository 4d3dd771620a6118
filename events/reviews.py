"""Readers' reviews, moderated, with revisions."""

EVENTS = ()
