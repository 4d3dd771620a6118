"""The pages people see: rendered here, usable without JavaScript, better with it."""
