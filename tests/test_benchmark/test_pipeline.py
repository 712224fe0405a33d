"""The input pipeline on generated pictures, for every task."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from g2sd_mm.benchmark.build import stage_config
from g2sd_mm.benchmark.pipeline import build_loader, fed_steps, reading_rate, started
from g2sd_mm.benchmark.stages import STAGES


@pytest.mark.parametrize('name', ['generic_vits', 'cls_vits', 'det_vits', 'seg_vits'])
def test_the_stages_own_loader_reads_generated_pictures(name, tmp_path, monkeypatch):
    monkeypatch.setattr('g2sd_mm.benchmark.pipeline.PICTURES', 4)
    stage = STAGES[name]
    loader = build_loader(stage_config(stage, 'toy'), stage, tmp_path, 3, 0, 'toy')
    batches = iter(loader)
    first, second = next(batches), next(batches)  # more than there are pictures: endless
    side = stage.side_at('toy')
    for batch in (first, second):
        assert len(batch['inputs']) == len(batch['data_samples']) == 3
        for image in batch['inputs']:
            assert image.dtype == torch.uint8
            assert max(image.shape[1:]) <= side
    sample = first['data_samples'][0]
    assert sample.sample_seed
    if name == 'det_vits':
        assert any(len(s.gt_instances.masks) for s in first['data_samples'])
    if name == 'seg_vits':
        assert sample.gt_sem_seg.data.unique().numel() > 1
    assert reading_rate(loader, 2) > 0


class Loader(SimpleNamespace):
    """Counts what is read, and says that workers read ahead."""

    def __iter__(self):
        for number in range(100):
            self.read.append(number)
            yield number


def test_what_was_read_ahead_is_not_timed():
    loader = Loader(num_workers=3, read=[])
    assert next(started(loader)) == 6
    assert next(started(Loader(num_workers=0, read=[]))) == 0


def test_fed_steps_train_on_consecutive_batches():
    loader, trained = Loader(num_workers=1, read=[]), []
    formulation = SimpleNamespace(run=lambda part, batch: trained.append((part, batch)))
    task = fed_steps(formulation, loader, 2)
    run = task()
    assert (loader.read, trained) == ([0, 1], [])
    run()
    assert trained == [('step', 2), ('step', 3)]
