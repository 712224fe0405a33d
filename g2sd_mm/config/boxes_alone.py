"""A detector of boxes and masks as one of boxes alone: its model, its data, its metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from ..errors import UserError
from .parts import EVALUATORS, LOADERS, distillations_in, network_of, typed_parts

#: Top-level name of a config: True or False decide; without it, the data do.
BOXES_ONLY = 'boxes_only'
#: Heads on regions that do without masks when they are given no head for them.
_ROI_HEADS = ('StandardRoIHead', 'CascadeRoIHead', 'DoubleHeadRoIHead', 'DynamicRoIHead')
_PARTS = ('mask_head', 'mask_roi_extractor')
#: Entries of a model that may speak of masks without needing any.
_SETTINGS = ('data_preprocessor', 'train_cfg', 'test_cfg', 'init_cfg')
#: Detectors whose masks come from their box head.
_INSTANCE_HEADS = ('InsHead', 'InsSepBNHead')
#: Where steps that load masks are, and where parts that look at a metric.
_STEPS = (*LOADERS, 'tta_pipeline', 'custom_hooks')
_WATCHING = ('default_hooks', 'custom_hooks', 'param_scheduler')


def needs_masks(cfg: Mapping[str, Any]) -> bool:
    """Whether a config has anything that asks for masks of objects."""
    if has_mask_head(cfg):
        return True
    metrics = (str(metric.get('metric')) for metric in typed_parts(cfg, EVALUATORS))
    return any('segm' in metric for metric in metrics) or any(
        step.get('with_mask') for step in typed_parts(cfg, _STEPS)
    )


def has_mask_head(cfg: Mapping[str, Any]) -> bool:
    """Whether the model has a mask head on regions."""
    return bool((_roi_head(cfg) or {}).get('mask_head'))


def can_do_without_masks(cfg: Mapping[str, Any]) -> bool:
    """Whether the model stays whole without its mask head, or has none."""
    model, roi_head = network_of(cfg), _roi_head(cfg)
    if roi_head and has_mask_head(cfg) and _name(roi_head) not in _ROI_HEADS:
        return False
    if model.get('mask_head'):  # not one on regions: it is all that the model has
        return False
    return not any(_tells_masks(value, key) for key, value in model.items() if key != 'type')


def _tells_masks(value: Any, key: str) -> bool:
    if key in _PARTS or key in _SETTINGS or not value:
        return False
    if 'mask' in key or 'panoptic' in key:
        return True
    if isinstance(value, (list, tuple)):
        return any(_tells_masks(item, key) for item in value)
    if not isinstance(value, Mapping):
        return False
    name = _name(value)
    if 'mask' in name.lower() or name.endswith(_INSTANCE_HEADS):
        return True
    return any(_tells_masks(item, name) for name, item in value.items())


def read_boxes_alone(cfg: Config) -> None:
    """Load no masks and compute no metric of them, in place; the model stays as it is."""
    for step in typed_parts(cfg, _STEPS):
        if _name(step).endswith('LoadAnnotations') and step.get('with_mask'):
            step['with_mask'] = False
        elif step.get('by_mask'):
            step['by_mask'], step['by_box'] = False, True
    for metric in typed_parts(cfg, EVALUATORS):
        asked = metric.get('metric')
        names = [asked] if isinstance(asked, str) else list(asked or ())
        if 'segm' in names:
            metric['metric'] = [name for name in names if name != 'segm'] or ['bbox']
    for part in typed_parts(cfg, _WATCHING):
        for key in {'save_best', 'monitor'} & set(part):
            part[key] = _by_boxes(part[key])


def leave_mask_head_out(cfg: Config) -> list[str]:
    """Make a Mask R-CNN a Faster R-CNN, in place; of a distilled config the student.

    Losses of distillation that listen to the mask head are left out too.

    Returns:
        names of those losses.

    Raises:
        UserError: if the model is nothing without masks, or no loss of distillation remains.
    """
    if not can_do_without_masks(cfg):
        raise UserError(
            'boxes without masks are to be learnt, and a model of type '
            f'{_name(network_of(cfg))} is nothing without masks: add masks, or take a model with '
            f'one of {", ".join(_ROI_HEADS)}'
        )
    for part in _PARTS:
        (_roi_head(cfg) or {}).pop(part, None)
    model = network_of(cfg)
    kind = str(model.get('type', ''))
    if kind.rpartition('.')[2] == 'MaskRCNN':
        model['type'] = kind.replace('MaskRCNN', 'FasterRCNN')
    left_out = [name for block in distillations_in(cfg) for name in _without_mask_losses(block)]
    return list(dict.fromkeys(left_out))


def _without_mask_losses(block: ConfigDict) -> list[str]:
    taps = block.get('taps') or {}
    gone = [tap for tap, place in taps.items() if _hears_masks(place)]
    losses = block.get('losses') or {}
    left_out = [name for name, loss in losses.items() if loss and _uses(loss, gone)]
    if left_out and not any(loss for name, loss in losses.items() if name not in left_out):
        raise UserError(
            'the data have boxes without masks, and all losses of distillation compare masks '
            f'({", ".join(left_out)}): give distillation.losses one on boxes or features'
        )
    for name in left_out:
        losses[name] = None
    for tap in gone:
        taps.pop(tap)
        (block.get('adapters') or {}).pop(tap, None)
    return left_out


def _hears_masks(place: Any) -> bool:
    """Whether a tap listens to the mask head on one side, so that nothing is left to compare."""
    sides = [place] if isinstance(place, str) else (place or {}).values()
    return any(part in str(side).split('.') for side in sides for part in _PARTS)


def _uses(loss: Mapping[str, Any], taps: list[str]) -> bool:
    places = list((loss.get('inputs') or {}).values())
    flat = [p for place in places for p in ([place] if isinstance(place, str) else place)]
    return loss.get('tap') in taps or any(p.partition('.')[2] in taps for p in flat)


def _roi_head(cfg: Mapping[str, Any]) -> Any:
    found = network_of(cfg).get('roi_head')
    return found if isinstance(found, Mapping) else None


def _name(part: Mapping[str, Any]) -> str:
    return str(part.get('type', '')).rpartition('.')[2]


def _by_boxes(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return list(dict.fromkeys(_by_boxes(item) for item in value))
    return value.replace('segm_mAP', 'bbox_mAP') if isinstance(value, str) else value
