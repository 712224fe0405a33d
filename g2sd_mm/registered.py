"""Import this module in a config's ``custom_imports`` to register every component of g2sd_mm."""

from . import register_all

register_all()
