"""``metafile.yml`` of the config folders and ``model-index.yml``, in OpenMMLab's form.

``python -m benchmarks.metafile`` rewrites them from the configs; a test compares. No weights and no
results of this project exist for these configs, so an entry has neither; a published figure stands
with its source.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from g2sd_mm.bench.suites.budget import raw_config, work_of
from g2sd_mm.config.parts import teachers_in
from g2sd_mm.config.project import project_folder
from g2sd_mm.published import published
from g2sd_mm.tasks import TASKS

PAPER = {
    'Title': 'Generic-to-Specific Distillation of Masked Autoencoders',
    'URL': 'https://arxiv.org/abs/2302.14771',
}
#: Folder -> the task of its rows.
FOLDERS = {task.paper.folder: task for task in TASKS.values() if task.paper}
_PAPERS = {task.paper.folder: task.paper for task in TASKS.values() if task.paper}
_PUBLISHED_TEACHERS = {f'vitb_{task.head}' for task in FOLDERS.values()}
_NOTE = '# Written by: python -m benchmarks.metafile\n'


def metafiles(root: Path) -> dict[Path, str]:
    """Every file with what it should hold.

    Args:
        root: the checkout.
    """
    files = {
        root / 'configs' / name / 'metafile.yml': _text(_folder(root, name)) for name in FOLDERS
    }
    imports = [path.relative_to(root).as_posix() for path in files]
    return {**files, root / 'model-index.yml': _text({'Import': imports})}


def _folder(root: Path, name: str) -> dict[str, Any]:
    collection = {
        'Name': f'G2SD-{name}',
        'README': 'README.md',
        'Metadata': {
            'Architecture': ['Vision Transformer'],
            'Training Data': _PAPERS[name].full_name,
        },
        'Paper': PAPER,
    }
    paths = sorted((root / 'configs' / name).glob('*.py'))
    models = [_model(path.relative_to(root).as_posix(), name) for path in paths]
    return {'Collections': [collection], 'Models': models}


def _model(path: str, folder: str) -> dict[str, Any]:
    cfg = raw_config(path)
    metadata: dict[str, Any] = {'Training Data': _PAPERS[folder].full_name}
    if cfg.get('train_cfg') and cfg.get('train_dataloader'):
        metadata |= _recipe(cfg)
    teachers = teachers_in(cfg.get('distillation')).values()
    if teachers:
        metadata['Teacher'] = ', '.join(
            # a task's config, timm's name, or MAE's size
            teacher.get('config') or teacher.get('model') or f'MAE ViT, {teacher["arch"]}'
            for teacher in teachers
        )
    stem = Path(path).stem
    return {
        'Name': stem,
        'In Collection': f'G2SD-{folder}',
        'Config': path,
        'Metadata': metadata,
        'Results': _results(stem, folder) if cfg.get('test_evaluator') else None,
        'Weights': None,
    }


def _recipe(cfg: Config) -> dict[str, Any]:
    length = cfg.train_cfg
    by_epoch = 'max_epochs' in length
    return {
        'Batch Size': cfg.auto_scale_lr.base_batch_size
        * cfg.optim_wrapper.get('accumulative_counts', 1),
        'Epochs' if by_epoch else 'Iterations': int(
            length.max_epochs if by_epoch else work_of(cfg).updates
        ),
    }


def _results(stem: str, folder: str) -> list[dict[str, Any]]:
    task, paper = FOLDERS[folder], _PAPERS[folder]
    results = []
    for title, metrics in paper.measures.items():
        result: dict[str, Any] = {'Task': title, 'Dataset': paper.full_name, 'Metrics': None}
        if stem in _PUBLISHED_TEACHERS:
            for name, metric in metrics.items():
                row = dict(task=task.key, student='vitb', method='teacher')
                figure = published(row, metric)
                if figure and figure.value is not None:
                    result['Metrics'] = {name: figure.value}
                    result['Source'] = f'published, not of this project: {figure.source}'
        results.append(result)
    return results


def _text(content: dict[str, Any]) -> str:
    return _NOTE + yaml.safe_dump(content, sort_keys=False, width=100, allow_unicode=True)


if __name__ == '__main__':
    for file, text in metafiles(project_folder()).items():
        file.write_text(text)
