"""The ops of ``mmcv._ext`` that detection and segmentation use, written with torchvision.

Names, argument names and the habit of writing results into tensors given by the caller are those
of the compiled extension; ``mmcv.ops`` calls them by keyword. Import this module only through
``mmcv._ext`` (:mod:`g2sd_mm.compat.mmcv_ops`). What torchvision differentiates by itself stands in
a module of ``mmcv.ops`` instead, see :mod:`.sampling`.

Precision: float32 and float64 are computed as they are, half and bfloat16 in float32, and the
result is cast to the tensor that receives it. Compiled mmcv refuses bfloat16 and, for NMS on the
CPU, float64; the fallback accepts both.

Other differences from compiled mmcv:

* RoIAlign only averages; ``pool_mode='max'`` raises ``RuntimeError``.
* Soft-NMS and NMS-match are Python loops: right, but slow.
* A class weight in the sigmoid focal loss counts as 1 for background rows. The compiled op reads
  past the end of the weight vector there.
"""

from g2sd_mm.compat.mmcv_kernels import boxes


def get_compiler_version() -> str:
    """What ``mmcv.ops.get_compiler_version`` reports about the build."""
    return 'n/a (torchvision-backed fallback)'


def get_compiling_cuda_version() -> str:
    """What ``mmcv.ops.get_compiling_cuda_version`` reports about the build."""
    return 'not available'


OPS = (
    boxes.bbox_overlaps,
    boxes.nms,
    boxes.nms_match,
    boxes.sigmoid_focal_loss_backward,
    boxes.sigmoid_focal_loss_forward,
    boxes.softnms,
    get_compiler_version,
    get_compiling_cuda_version,
)
