"""The commands on each subject: the streams a decision reads, the rule it asks, and the effects that go with its events."""
