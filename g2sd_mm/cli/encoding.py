"""Files in UTF-8, whatever the locale."""

from __future__ import annotations

import codecs
import locale
import os
import sys


def ensure_utf8() -> None:
    """Start this command anew in Python's UTF-8 mode, if the locale has another encoding.

    Libraries open logs, configs and label files in the locale's encoding: a run in ``ISO-8859-1``
    or ASCII would end where the first path or class name has a letter that this lacks, which may be
    after hours. (In the C locale Python is in that mode by itself.)
    """
    encoding = codecs.lookup(locale.getpreferredencoding(False)).name
    if sys.flags.utf8_mode or encoding == 'utf-8':
        return
    os.execv(sys.executable, [sys.executable, '-X', 'utf8', *sys.orig_argv[1:]])
