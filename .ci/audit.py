"""Look up known vulnerabilities of the packages that are installed beside this interpreter.

Where the advisories cannot be reached nothing is known, and one line says so: that is no failure,
and no success either. (pip-audit says "no known vulnerabilities" when it could look up no package.)
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

# Beside the packages that it looks at and not among them: it has many of its own.
TOOL = Path(sys.prefix) / 'audit'
SECONDS = 300


def audit() -> tuple[int, str]:
    """Exit code and what to print."""
    try:
        report = _look_up()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        output = getattr(error, 'stderr', None) or str(error)
        return skipped((output.strip().splitlines() or ['no answer'])[-1])
    return judge(report)


def judge(report: dict[str, Any]) -> tuple[int, str]:
    """Exit code 1 if a package has a known vulnerability; of those that could be looked up."""
    packages = report.get('dependencies', [])
    unknown = [package['name'] for package in packages if 'skip_reason' in package]
    bad = [package for package in packages if package.get('vulns')]
    if len(unknown) == len(packages):
        return skipped(f'none of {len(packages)} packages could be looked up')
    lines = [f'audit: {len(packages) - len(unknown)} packages looked up, {len(bad)} vulnerable']
    for package in bad:
        for found in package['vulns']:
            mended = ', '.join(found.get('fix_versions') or ()) or 'no release yet'
            name = f'{package["name"]} {package["version"]}'
            lines.append(f'  {name}: {found["id"]}, mended in {mended}')
    if unknown:
        lines.append(f'  not looked up: {", ".join(unknown)}')
    return int(bool(bad)), '\n'.join(lines)


def skipped(why: str) -> tuple[int, str]:
    """What is said where nothing is known."""
    return 0, f'AUDIT SKIPPED: the advisories cannot be reached ({why}); nothing was checked'


def _look_up() -> dict[str, Any]:
    python = TOOL / 'bin' / 'python'
    if not (TOOL / 'bin' / 'pip-audit').is_file():
        _run(sys.executable, '-m', 'venv', str(TOOL))
        _run(str(python), '-m', 'pip', 'install', '--quiet', 'pip-audit')
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / 'report.json'
        command = [str(python), '-m', 'pip_audit', '--path', sysconfig.get_paths()['purelib']]
        command += ['--format', 'json', '--output', str(output), '--progress-spinner', 'off']
        # it exits with 1 where it finds something, and where it cannot look
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        if not output.is_file():
            raise OSError((done.stderr.strip().splitlines() or ['no report'])[-1])
        return json.loads(output.read_text())


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)


if __name__ == '__main__':
    code, text = audit()
    print(text)
    sys.exit(code)
