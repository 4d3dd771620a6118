"""Erasure of a person."""

EVENTS = ()
