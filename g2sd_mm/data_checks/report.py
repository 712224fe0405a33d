"""What a check found: as text, as JSON, and as a list of things to do."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from ..text import printable
from .findings import KINDS, Finding

DIGEST = 'BLAKE2b-128 of the decoded pixels'


@dataclass(frozen=True)
class Report:
    """The outcome of a check.

    places: what was looked at, ``split: folder or file``.
    images, masks: how many files.
    findings: what is wrong, the worst first.
    seconds, workers: how long it took, on how many processes.
    """

    places: tuple[str, ...]
    images: int
    masks: int
    findings: tuple[Finding, ...]
    seconds: float
    workers: int

    @property
    def harmful(self) -> int:
        """Number of findings that make the check fail."""
        return sum(finding.harmful for finding in self.findings)

    @property
    def rate(self) -> float:
        """Files a second."""
        return (self.images + self.masks) / max(self.seconds, 1e-9)

    def by_kind(self) -> dict[str, list[Finding]]:
        """Findings of each kind that there are any of."""
        groups: dict[str, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            groups[finding.kind].append(finding)
        return dict(groups)

    def text(self, examples: int = 3) -> str:
        """Grouped, with counts, the first examples and what to do."""
        lines = [printable(f'looked at {place}') for place in self.places]
        for kind, group in self.by_kind().items():
            mark = 'HARM' if KINDS[kind].harmful else 'note'
            lines += ['', f'{mark}  {len(group)}  {KINDS[kind].title}  [{kind}]']
            for finding in group[:examples]:
                said = f'{finding.path}: {finding.detail}'.removesuffix(': ')
                lines.append(f'      {printable(said)}')
            if len(group) > examples:
                lines.append(f'      and {len(group) - examples} more')
            lines.append(f'      to do: {KINDS[kind].remedy}')
        notes = len(self.findings) - self.harmful
        files = f'{self.images} images' + (f' and {self.masks} masks' if self.masks else '')
        lines += [
            '',
            f'{files} in {self.seconds:.1f} s ({self.rate:.0f} files/s on {self.workers} '
            f'process(es)): {self.harmful} harmful, {notes} worth knowing',
        ]
        return '\n'.join(lines)

    def plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            'places': list(self.places),
            'images': self.images,
            'masks': self.masks,
            'harmful': self.harmful,
            'counts': {kind: len(group) for kind, group in self.by_kind().items()},
            'same_pixels_by': DIGEST,
            'seconds': round(self.seconds, 2),
            'files_per_second': round(self.rate, 1),
            'workers': self.workers,
            'findings': [
                {'kind': f.kind, 'harmful': f.harmful, 'path': f.path, 'detail': f.detail}
                for f in self.findings
            ],
        }

    def fix_list(self) -> str:
        """One JSON object a line for every file: what is wrong with it and what to do.

        ``{"path": ..., "problems": [...], "to_do": [...]}``, files with a harmful finding only.
        """
        files: dict[str, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            if finding.harmful:
                files[finding.path].append(finding)
        return ''.join(
            json.dumps(
                {
                    'path': path,
                    'problems': [f'{f.kind}: {f.detail}'.removesuffix(': ') for f in group],
                    'to_do': list(dict.fromkeys(KINDS[f.kind].remedy for f in group)),
                }
            )
            + '\n'
            for path, group in files.items()
        )
