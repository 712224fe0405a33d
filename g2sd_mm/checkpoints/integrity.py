"""Is a checkpoint still what was written? And which is the newest that is?

``torch.save`` writes a zip archive with a CRC-32 of every tensor, which ``torch.load`` does not
look at. Here they are checked: a file that was cut short, or in which a bit changed, is found out.
"""

from __future__ import annotations

import shlex
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..compat.safe_load import CheckpointError, load_checkpoint
from ..text import one_line

#: Text file of a work dir with the path of its newest checkpoint; the name is mmengine's.
POINTER = 'last_checkpoint'


def damage(path: str | Path) -> str:
    """What is wrong with a file that ``torch.save`` wrote; empty if it is whole.

    Reads the file once, at the speed of the disk.
    """
    path = Path(path)
    if not path.is_file():
        return 'it is not there'
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            # torch would take a part with the mark of a folder, and read nothing into its tensor
            marked = any(part.external_attr for part in archive.infolist())
        if broken or marked:
            return f'the checksum of its part {broken} is wrong' if broken else 'its index is wrong'
        load_checkpoint(path, mmap=True)  # the frame around the parts is in order too
    except zipfile.BadZipFile:
        return f'it is truncated or damaged ({path.stat().st_size} bytes)'
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        return f'it cannot be read ({one_line(error)})'
    return ''


def newest_whole(
    work_dir: str | Path, folder: str | Path | None = None
) -> tuple[Path | None, list[str]]:
    """The checkpoint to go on from, and a line for each one that was passed over for damage.

    It is the one that ``last_checkpoint`` names; if that is damaged, the newest whole one beside
    it. A work dir without ``last_checkpoint`` has nothing to go on from; a line names a checkpoint
    that lies there.

    Args:
        work_dir: of the run.
        folder: where its checkpoints are, if that is not the work dir.

    Raises:
        CheckpointError: if there are checkpoints, and none of them is whole, or if the one that is
            named is another run's.
    """
    folder = Path(folder or work_dir)
    named = _named(Path(work_dir), folder)
    if named is None:
        left = next(saved_in(folder), None)  # a copy without it, or of an earlier run
        return None, [
            f'{work_dir} has no {POINTER}, and {left.name}: to go on from it, before another takes '
            f'its name, --resume {shlex.quote(str(left))}'
        ] if left else []
    passed: list[str] = []
    for path in (named, *saved_in(folder, named)):
        problem = damage(path)
        if not problem:
            return path, passed
        passed.append(f'checkpoint {path} is passed over: {problem}')
    raise CheckpointError(
        f'no checkpoint in {work_dir} is whole: {"; ".join(passed)}; start anew without --resume'
    )


def _named(work_dir: Path, folder: Path) -> Path | None:
    """The run's own checkpoint that ``last_checkpoint`` names, wherever it was when it was written.

    A work dir that was copied names the checkpoints of the first one: those are another run's.
    """
    pointer = work_dir / POINTER
    if not pointer.is_file():
        return None
    path = Path(pointer.read_text(encoding='utf-8', errors='replace').strip())
    own = folder / path.name
    if path.name and not own.is_file() and path.is_file() and path.parent != folder:
        raise CheckpointError(
            f'{pointer} names {path}, which is not in {folder}: to go on from it, give its path, '
            f'--resume {shlex.quote(str(path))}'
        )
    return own


def saved_in(folder: Path, named: Path | None = None) -> Iterator[Path]:
    """Checkpoints of a folder that a run can go on from, but for the named one, newest first."""
    files = [path for path in folder.glob('*.pth') if path != named]
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            content = load_checkpoint(path, mmap=True)
        except CheckpointError:
            yield path  # its damage is worth a line
        else:
            if isinstance(content, dict) and {'optimizer', 'message_hub'} <= set(content):
                yield path
