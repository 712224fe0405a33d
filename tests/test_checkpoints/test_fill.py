"""What a run starts from is complete, or the run does not start."""

from __future__ import annotations

import pytest
import torch
from mmengine.runner import Runner

from g2sd_mm.checkpoints import CheckpointError
from g2sd_mm.checkpoints.fill import fill_start
from g2sd_mm.models.mae import MAEPretraining

from ..helpers.runs import runner
from ..helpers.toys import (
    STUDENT,
    TEACHER,
    autoencoder,
    classifier,
    distiller,
    save,
    words,
)
from ..test_distill.test_specific import specific


def filled_alike(own: torch.nn.Module, source: dict, names) -> bool:
    state = own.state_dict()
    return all(torch.equal(state[name], source[name]) for name in names)


@pytest.mark.parametrize('wrapped', [True, False])
def test_stage_1_starts_from_a_student(wrapped, tmp_path):
    source = distiller(seed=5)
    state = source.state_dict() if wrapped else source.student.state_dict()
    model = distiller(seed=1)
    fit = fill_start(model, save(tmp_path / 'x.pth', state))
    assert filled_alike(model.student, source.student.state_dict(), fit.loaded)
    assert fit.random == ()


def test_an_encoder_is_enough_for_an_autoencoder(tmp_path):
    model = MAEPretraining(**STUDENT)
    encoder = distiller(seed=5).deployable_state()
    fit = fill_start(model, save(tmp_path / 'x.pth', encoder))
    assert filled_alike(model.autoencoder, encoder, encoder)
    assert set(fit.random) == {
        name for name in model.autoencoder.state_dict() if name.startswith(('decoder_', 'mask_'))
    }


def test_stage_2_starts_from_the_student_alone(tmp_path):
    model, source = specific(seed=1), specific(seed=5)
    fill_start(model, save(tmp_path / 'x.pth', source.deployable_state()))
    assert filled_alike(model.student, source.student.state_dict(), source.student.state_dict())


def test_a_task_model_starts_from_one_of_its_own(tmp_path):
    model, source = classifier(seed=1), classifier(seed=5)
    fill_start(model, save(tmp_path / 'x.pth', source))
    assert filled_alike(model, source.state_dict(), source.state_dict())


@pytest.mark.parametrize(
    ('build', 'state', 'message'),
    [
        (classifier, lambda: distiller().deployable_state(),
         ('start of ImageClassifier', 'an encoder-only MAE', 'init_cfg.checkpoint=FILE')),
        (classifier, lambda: classifier(dim=24).state_dict(), ('of another size',)),
        (distiller, lambda: autoencoder(TEACHER).state_dict(),
         ('start of an autoencoder', 'a full masked', 'of another size')),
        (distiller, lambda: classifier().state_dict(), ('start of an autoencoder', 'unknown')),
        (specific, lambda: {'conv.weight': torch.zeros(1)}, ('a file of another model',)),
    ],
)
def test_whatever_else_is_refused_in_one_line(build, state, message, tmp_path):
    path = save(tmp_path / 'x.pth', state())
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=words('x.pth', *message)) as caught:
        fill_start(model, path)
    assert '\n' not in str(caught.value)
    assert filled_alike(model, before, before)


# In a run -----------------------------------------------------------------------------------------


def strict(start: str | None = None) -> list[dict]:
    return [dict(type='StrictLoadingHook', start=start)]


def run(folder, **changes) -> Runner:
    model = classifier(seed=1)
    return runner(folder, model, train_cfg=dict(by_epoch=True, max_epochs=1),
                  optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)), **changes)


def test_a_run_starts_from_the_file(tmp_path):
    source = classifier(seed=5)
    started = run(tmp_path, custom_hooks=strict(save(tmp_path / 'x.pth', source)))
    started.train()  # at a rate of zero
    assert filled_alike(started.model, source.state_dict(), source.state_dict())


def test_a_checkpoint_of_another_model_is_not_resumed(tmp_path):
    checkpoint = tmp_path / 'epoch_1.pth'
    save(checkpoint, classifier(dim=24))
    wrong = run(tmp_path, custom_hooks=strict(), resume=True, load_from=str(checkpoint))
    message = words('cannot go on from this checkpoint', 'ImageClassifier', 'load_from=FILE')
    with pytest.raises(CheckpointError, match=message) as caught:
        wrong.train()
    assert '\n' not in str(caught.value)
