"""Outgoing webhooks: operators' subscriptions, each a cursor over the log, told of what happens by signed POSTs."""
