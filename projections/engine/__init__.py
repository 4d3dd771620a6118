"""The projector: windows of the log folded by SQL, rebuilt, compared and watched. It knows no subject."""
