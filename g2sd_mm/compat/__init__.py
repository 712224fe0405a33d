"""What the OpenMMLab 2.x stack lacks on a modern machine, put right before its first import.

:func:`prepare` runs when ``g2sd_mm`` is imported. It imports neither torch nor any OpenMMLab
library: whatever concerns one of those waits until somebody imports it (:mod:`.import_hooks`),
so a segmentation run never pays for mmdet, and reading a command's ``--help`` pays for none.
"""

import functools

from g2sd_mm.compat import (
    batches,
    class_names,
    coco_files,
    data_folders,
    guards,
    image_files,
    mmcv_ops,
    plain_files,
    quiet,
    sample_lists,
)

__all__ = ['prepare']


@functools.cache
def prepare() -> None:
    """Check this environment and mend what can be mended. Later calls do nothing.

    A call that raised is not remembered, so the next one checks again.

    Raises:
        ImportError: this environment cannot work; the message is one line with the command that
            repairs it.
    """
    image_files.limit_pixels()  # first: a check may load OpenCV
    guards.check_no_upstream_twins()
    guards.check_opencv()
    guards.provide_distutils()
    guards.watch_imports()
    image_files.name_unreadable_files()
    data_folders.read_folders_alike()
    sample_lists.make_lists_quickly()
    coco_files.read_alike()
    coco_files.count_left_out()
    batches.name_odd_sizes()
    class_names.match_classes_by_name()
    batches.normalise_any_channels()
    batches.join_windows_of_any_batch()
    plain_files.read_plain_values_only()
    mmcv_ops.install()
    quiet.silence_known_warnings()
    quiet.silence_pycocotools()
