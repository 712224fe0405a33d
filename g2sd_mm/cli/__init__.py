"""The commands behind ``tools/``, a module each; nothing heavy before arguments are read."""
