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
    plain_runs,
    quiet,
    resume_data,
    sample_lists,
)
from g2sd_mm.compat.import_hooks import after_import, import_without

__all__ = ['prepare']

# Module -> what is done to it as soon as it is loaded. Several of one module come in this order.
_PATCHES = (
    ('PIL.Image', image_files.limit_pillow),
    ('mmcv.image.io', image_files.refuse_misread_images),
    ('mmcv.transforms.loading', image_files.name_images),
    ('mmdet.datasets.api_wrappers.coco_api', class_names.order_categories),
    ('mmdet.datasets.api_wrappers.coco_api', quiet.print_no_noise),
    ('mmdet.datasets.coco', coco_files.read_in_data_set),
    ('mmdet.evaluation.metrics.coco_metric', coco_files.read_in_metric),
    ('mmdet.evaluation.metrics.coco_metric', class_names.order_figures),
    ('mmdet.models.backbones.swin', batches.join_windows_of_any_batch),
    ('mmdet.models.dense_heads', guards.make_heads_anew),
    ('mmdet.models.dense_heads.ssd_head', guards.let_ssd_predict),
    ('mmengine.config.config', guards.write_in_order),
    ('mmengine.config.utils', guards.name_packages_as_folders),
    ('mmengine.dataset.base_dataset', sample_lists.serialise_quickly),
    ('mmengine.dataset.utils', batches.name_odd_sizes),
    ('mmengine.fileio.backends.local_backend', data_folders.list_data_alone),
    ('mmengine.fileio.handlers.pickle_handler', plain_files.limit_pickles),
    ('mmengine.fileio.handlers.yaml_handler', plain_files.limit_yaml),
    ('mmengine.fileio.io', plain_files.name_the_file),
    ('mmengine.logging.logger', quiet.print_no_noise),
    ('mmengine.model.base_model.data_preprocessor', batches.normalise_any_channels),
    ('mmengine.runner._flexible_runner', resume_data.resume_from_data),
    ('mmengine.runner._flexible_runner', plain_runs.refuse_unread),
    ('mmengine.runner.checkpoint', guards.close_unsafe_loading),
    ('mmengine.runner.runner', resume_data.resume_from_data),
    ('mmengine.runner.runner', plain_runs.refuse_unread),
    ('mmengine.utils.package_utils', guards.forbid_run_time_installs),
    ('mmpretrain.datasets.custom', sample_lists.read_class_folders),
    ('mmpretrain.models.utils.attention', batches.join_windows_of_any_batch),
    ('mmpretrain.utils.dependency', guards.switch_off_multimodal),
    ('mmseg.datasets.basesegdataset', data_folders.count_beside_masks),
    ('mmseg.datasets.transforms.loading', image_files.name_masks),
    ('mmseg.evaluation.metrics.iou_metric', coco_files.count_left_out),
    ('mmseg.models.backbones.swin', batches.join_windows_of_any_batch),
    ('mmseg.models.data_preprocessor', batches.name_odd_crops),
    ('pycocotools.coco', quiet.print_no_noise),
    ('pycocotools.cocoeval', quiet.print_no_noise),
    ('yapf.yapflib.yapf_api', guards.remember_formatting),
)

# Module of a task library -> another library that it imports where it can, for something beside its
# task: every run would pay seconds for it. A config that names another task library (the MaskFormer
# of mmseg is made of heads of mmdet) has it imported before: `config.parts.import_named_libraries`.
# For mmdet's networks with language models, import transformers before mmdet. (mmengine would take
# its Adafactor for torch's.)
_IMPORTS_IN_PASSING = {
    'mmpretrain.models.utils.res_layer_extra_norm': 'mmdet',
    'mmengine.optim.optimizer.builder': 'transformers',
    'mmdet.datasets.transforms.text_transformers': 'transformers',
    'mmdet.models.dense_heads.atss_vlfusion_head': 'transformers',
    'mmdet.models.language_models.bert': 'transformers',
    'mmdet.models.utils.vlfuse_helper': 'transformers',
    'mmdet.models.data_preprocessors.reid_data_preprocessor': 'mmpretrain',
    'mmdet.models.reid.base_reid': 'mmpretrain',
    'mmdet.models.reid.linear_reid_head': 'mmpretrain',
    'mmseg.datasets.onedl': 'mmpretrain',
    'mmseg.models.decode_heads.mask2former_head': 'mmdet',
    'mmseg.models.decode_heads.maskformer_head': 'mmdet',
}


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
    for module, patch in _PATCHES:
        after_import(module, patch)
    for module, library in _IMPORTS_IN_PASSING.items():
        import_without(module, library)
    mmcv_ops.install()
    quiet.silence_known_warnings()
