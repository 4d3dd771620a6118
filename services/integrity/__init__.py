"""Bought votes: find them, keep what was found, and count what their removal would change."""
