"""A teacher and a student of the same kind, with different random weights."""

from __future__ import annotations

import pytest
import torch

from .networks import student


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    """Classifiers: the teacher predicts from the mean of the patches, the student from two tokens.

    Fresh for each file: tests may change their weights.
    """
    folder = tmp_path_factory.mktemp('networks')
    plain = {'model.backbone.out_type': 'avg_featmap', 'model.head.type': 'LinearClsHead'}
    made = {'teacher': student(folder / 'teacher', **plain), 'g2sd': student(folder / 'g2sd')}
    torch.manual_seed(1)
    for parameter in made['g2sd'].parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made
