"""Measurements: what is promised about speed and size, each beside its goal, in pairs within one run."""
