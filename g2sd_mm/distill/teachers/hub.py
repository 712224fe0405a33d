"""Files of teachers that the user names by their name on a hub; none is fetched unasked."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...errors import UserError
from ...text import first_line

#: Where repositories have their pages.
PAGE = 'https://huggingface.co'


def hub_file(repo: str, names: Sequence[str], remedy: str) -> Path:
    """The first of the files that a repository of Hugging Face has, from its cache or the network.

    Args:
        repo: ``owner/name``, or ``owner/name@revision``.
        names: of files, the preferred one first.
        remedy: what to do with the file where it cannot be fetched; ends the message.

    Raises:
        UserError: in one line that says which file to fetch from where.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    name, _, revision = repo.partition('@')
    at = revision or None
    for file in names:  # what is in the cache needs no network, not even to ask
        if isinstance(known := try_to_load_from_cache(name, file, revision=at), str):
            return Path(known)
    reason: Exception | None = None
    for file in names:
        try:
            with _without_its_warnings():
                return Path(hf_hub_download(name, file, revision=at))
        except LocalEntryNotFoundError as error:  # no network, and never fetched before
            raise _unreachable(name, names[0], remedy, error) from error
        except EntryNotFoundError as error:  # the repository has it under another name
            reason = error
        except Exception as error:  # refused, gated, no such repository, a proxy in between
            raise _unreachable(name, names[0], remedy, error) from error
    raise _unreachable(name, ' or '.join(names), remedy, reason)


def url_file(url: str, remedy: str) -> Path:
    """A file by its address, from timm's cache or the network.

    Raises:
        UserError: as :func:`hub_file`.
    """
    from timm.models._hub import download_cached_file

    try:
        return Path(download_cached_file(url, progress=False))
    except Exception as error:
        raise UserError(
            f'the teacher cannot be fetched ({_told(error)}): fetch {url} where there is a '
            f'network, and {remedy}'
        ) from error


def _unreachable(repo: str, file: str, remedy: str, error: BaseException | None) -> UserError:
    return UserError(
        f'the teacher {repo} is not in the cache of the hub and cannot be fetched '
        f'({_told(error)}): fetch {file} from {PAGE}/{repo} where there is a network (accept its '
        f'licence there if it has one to accept), and {remedy}'
    )


def _told(error: BaseException | None) -> str:
    """What lies at the bottom of an error, in a few words."""
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    said = first_line(error) if error else ''
    return f'{type(error).__name__}: {said:.120}' if said else type(error).__name__


@contextmanager
def _without_its_warnings() -> Iterator[None]:
    """The hub's library writes a line for every try; the last one's error says it all."""
    logger = logging.getLogger('huggingface_hub')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
