"""A file in a folder of parts is registered by being there."""

from __future__ import annotations

from pathlib import Path

from mmengine.registry import MODELS

import g2sd_mm
from g2sd_mm.distill import losses, teachers
from g2sd_mm.dropped_in import import_modules

PART = """from mmengine.registry import MODELS


@MODELS.register_module()
class DroppedIn:
    pass
"""


def test_a_module_that_is_dropped_in_is_imported(tmp_path, monkeypatch):
    folder = tmp_path / 'droppings'
    folder.mkdir()
    (folder / '__init__.py').touch()
    (folder / 'new.py').write_text(PART)
    monkeypatch.syspath_prepend(tmp_path)
    assert MODELS.get('DroppedIn') is None
    import_modules('droppings', [str(folder)])
    try:
        assert MODELS.get('DroppedIn').__module__ == 'droppings.new'
    finally:
        MODELS._module_dict.pop('DroppedIn')


def test_every_file_of_losses_and_teachers_is_imported():
    g2sd_mm.register_all()
    for package in (losses, teachers):
        (folder,) = package.__path__
        names = {path.stem for path in Path(folder).glob('*.py')} - {'__init__'}
        assert len(names) >= 3
        assert names <= set(vars(package)), package
