"""``--cfg-options``: any keys and values, up to the point where the run would begin."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hypothesis import strategies as st

from g2sd_mm.config.load import load_config
from g2sd_mm.config.options import read_options
from g2sd_mm.runs.data import prepare_data
from tests.helpers.toys import ROOT

from .case import Case
from .examples import examples

_CONFIGS = (
    'imagenet/vitb_cls.py', 'imagenet/g2sd_vits_generic.py', 'coco/g2sd_vits_maskrcnn.py',
    'ade20k/g2sd_vits_upernet.py',
)  # fmt: skip
_KEYS = (
    'model', 'model.type', 'model.backbone', 'model.backbone.init_cfg', 'model.head.num_classes',
    'model.backbone.arch.depth', 'train_dataloader', 'train_dataloader.batch_size',
    'train_dataloader.dataset', 'train_dataloader.dataset.dataset.data_root', 'data_layout',
    'train_dataloader.dataset.dataset.pipeline.0.type', 'optim_wrapper.optimizer.lr', 'num_classes',
    'val_dataloader.dataset.data_prefix', 'classes', 'distillation', 'distillation.teacher',
    'distillation.teacher.checkpoint', 'shapes', 'train_cfg.max_epochs', 'default_scope',
    'work_dir', 'custom_hooks', 'val_evaluator', 'randomness.seed', 'param_scheduler.9.type',
    'test_dataloader.dataset.pipeline', 'train_pipeline.1', 'data_preprocessor', '_base_',
    '_delete_',
)  # fmt: skip
_VALUES = (
    '', '3', '-1', '1e400', 'nan', 'None', 'True', '[', ']', '[1,', '(1,2', '{', '{}', '[]', '()',
    "'", '"a', '[[1,2],[3', 'a,b', ',', '=', '==', '[,]', 'a=b', '../../x', '/dev/zero', '\0',
    '$(touch x)', '`touch x`', '; touch x', '__import__("os")', '{{fileDirname}}', '9' * 5000,
    '[' * 500, '\u202e', '%s%n', "dict(a=1)", "[{'a': 1}]",
)  # fmt: skip


def option_cases(number: int) -> Iterator[Case]:
    """Combinations of real keys and odd ones with odd values."""
    keys = st.sampled_from(_KEYS) | st.text(max_size=12)
    values = st.sampled_from(_VALUES) | st.text(max_size=12)
    pair = st.builds('{}={}'.format, keys, values) | st.text(max_size=12)
    command = st.tuples(st.sampled_from(_CONFIGS), st.lists(pair, min_size=1, max_size=3))
    for config, pairs in examples(command, number):
        shown = ' '.join(f'{pair!r:.50}' for pair in pairs)
        yield Case('options', f'{config} {shown}', partial(_load, config, pairs))


def _load(config: str, pairs: list[str], work: Path) -> None:
    cfg = load_config(str(ROOT / 'configs' / config), read_options(pairs))
    prepare_data(cfg, ('train_dataloader', 'val_dataloader'))
