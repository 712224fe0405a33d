"""Tell a JPEG that ends too early, which decoders fill up with grey without a word."""

__all__ = ['ends_early']

_START, _END = b'\xff\xd8', b'\xff\xd9'
_SCAN = 0xDA


def ends_early(content: bytes) -> bool:
    """Whether this is a JPEG without its end marker.

    The marker need not be the last thing: cameras append to it. Inside of compressed pixels it
    cannot stand by chance, and one before them is a thumbnail's. A file of any other format passes.
    """
    if not content.startswith(_START) or content.endswith(_END):
        return False
    return content.rfind(_END, _start_of_scan(content)) < 0


def _start_of_scan(content: bytes) -> int:
    """Where the pixels begin: behind the segments, each of which says how long it is."""
    at = len(_START)
    while content[at : at + 1] == b'\xff' and at + 4 <= len(content):
        if content[at + 1] == _SCAN:
            return at
        at += 2 + int.from_bytes(content[at + 2 : at + 4], 'big')
    return at
