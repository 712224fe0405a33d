"""The commands behind ``tools/``, one module each; nothing heavy is imported before arguments are read."""
