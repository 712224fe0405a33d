"""What a detector found, as plain values and files."""

from __future__ import annotations

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData

from g2sd_mm.errors import UserError
from g2sd_mm.tasks.detection import files, plain

from ..helpers.toys import words


def test_a_panoptic_map_has_no_instances_to_write(tmp_path):
    sample = DetDataSample(pred_panoptic_seg=PixelData(sem_seg=torch.zeros(1, 4, 4)))
    with pytest.raises(UserError, match=words('panoptic')):
        plain(sample, ('a',), 0.3)
    with pytest.raises(UserError, match=words('panoptic')):
        files(sample, tmp_path / 'x', 0.3)
    assert list(tmp_path.iterdir()) == []
