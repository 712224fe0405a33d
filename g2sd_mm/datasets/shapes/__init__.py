"""Shapes: the embedded data set, drawn on first use for all tasks.

Textured shapes on crops of photographs, with clutter and occlusion; the outline is the only cue to
the class. One renderer serves classification (one dominant object), detection with instance masks
and semantic segmentation (the same scenes of several objects), and depth (those scenes again)::

    folder = ensure_shapes('data/shapes', task='cls', train=8000, val=2000, size=64)

========= ==========================================================================================
task      what is in the folder
========= ==========================================================================================
cls       ``{train,val}/<class>/<number>.png`` and ``annotations/{train,val}.txt`` (path, label)
det, seg  ``{train,val}/<number>.png``, ``annotations/instances_{train,val}.json`` (COCO),
          ``masks/{train,val}/<number>.png`` (0 background, 1 .. 10 classes, 255 not scored)
depth     ``{train,val}/<number>.png``, the same pictures, ``annotations/{train,val}.txt`` (paths),
          ``depth/{train,val}/<number>.png`` (16 bits, millimetres)
========= ==========================================================================================

Pre-training reads the classification images without their labels:
``mmpretrain.CustomDataset(data_prefix='train', with_label=False)``.
"""

from .outlines import CLASSES, PALETTE, SEG_CLASSES, SEG_PALETTE, VOID
from .scene import MIN_VISIBLE, Instance, Scene, render_scene
from .store import DEFAULT_SIZES, VERSION, ensure_shapes

__all__ = [
    'CLASSES', 'DEFAULT_SIZES', 'MIN_VISIBLE', 'PALETTE', 'SEG_CLASSES', 'SEG_PALETTE', 'VERSION',
    'VOID', 'Instance', 'Scene', 'ensure_shapes', 'render_scene',
]
