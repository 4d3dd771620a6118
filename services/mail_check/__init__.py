"""Whether mail will arrive, before it is sent: what others look up of this site, what its relay says, what its mails carry."""
