"""detectron2's Mask R-CNN on ViTDet: the published names of detectors."""

from __future__ import annotations

from .layout import Layout
from .mae import G2SD
from .published import Family

DETECTRON2 = Layout(
    name='detectron2',
    title='detectron2 ViTDet Mask R-CNN',
    tables={Family.DETECTOR: G2SD.tables[Family.DETECTOR]},
    not_weights=G2SD.not_weights,
    wrapper='model',
)
