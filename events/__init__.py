"""The events, the rules that decide them, the commands that ask those rules, and the log that keeps the events."""
