"""Targets that are measured: against NumPy, over batches and processes, saved and gone on with."""

from __future__ import annotations

import copy
import multiprocessing
import os

import numpy as np
import pytest
import torch

from g2sd_mm.distill import DistillationHook, LossWarmupHook, SpecificDistiller
from g2sd_mm.distill.losses.standardisation import build_target, hadamard, phi_s_projection

from ..helpers.runs import Slope, runner
from ..helpers.toys import free_port, images, refused, stage1_cfg, words
from .test_hooks import block, student

C, N = 12, 5
KINDS = pytest.mark.parametrize('kind', ['mean_std', 'phi_s'])


def tokens(seed: int, batch: int = 8, scale: float = 1.0) -> torch.Tensor:
    """[batch, 1 + N, C], correlated, with other statistics of the class token."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(C, C))
    values = scale * generator.normal(size=(batch, 1 + N, C)) @ mixing + np.arange(C)
    values[:, 0] = 3 * values[:, 0] - 40
    return torch.from_numpy(values)


def measured(kind: str, batches: list[torch.Tensor], fixed: bool = True):
    target = build_target(dict(type=kind, channels=C, updates=len(batches)))
    for update, batch in enumerate(batches):
        target.measure(batch, 1, update)
    if fixed:
        target.measure(batches[-1], 1, len(batches))
        assert target.is_settled
    return target


def parts(batches: list[torch.Tensor]) -> list[np.ndarray]:
    """Class tokens and patches of all batches, [number, C] each."""
    whole = torch.cat(batches)
    return [whole[:, :1].flatten(0, 1).numpy(), whole[:, 1:].flatten(0, 1).numpy()]


def test_mean_and_std_are_those_of_numpy_for_class_and_patches_apart():
    batches = [tokens(seed, batch) for seed, batch in enumerate((8, 3, 8))]
    target, new = measured('mean_std', batches), tokens(7)
    value = target(new, 1).numpy()
    for part, own in zip(parts(batches), (value[:, :1], value[:, 1:]), strict=True):
        raw = new[:, : own.shape[1]] if own.shape[1] == 1 else new[:, 1:]
        expected = (raw.numpy() - part.mean(0)) / np.sqrt(part.var(0) + 1e-6)
        np.testing.assert_allclose(own, expected, rtol=1e-9, atol=1e-9)
    only = target(new[:, 1:], 0).numpy()
    np.testing.assert_array_equal(only, value[:, 1:])


def test_phi_s_is_the_rotation_and_one_scale():
    batches = [tokens(seed, 64) for seed in range(3)]
    target = measured('phi_s', batches)
    whole = torch.cat(batches)
    value = target(whole, 1).numpy()
    for part, own in zip(parts(batches), (value[:, :1], value[:, 1:]), strict=True):
        own = own.reshape(-1, C)
        covariance = np.cov(own.T, bias=True)
        np.testing.assert_allclose(np.diag(covariance), 1, rtol=1e-6)  # every channel alike
        np.testing.assert_allclose(own.mean(0), 0, atol=1e-9)
        # distances between tokens are what they were, but for one factor
        values = np.linalg.eigvalsh(np.cov(part.T, bias=True))
        scale = np.sqrt(values.mean() + 1e-6)
        np.testing.assert_allclose(own[:20] @ own[:20].T * scale**2,
                                   (c := part[:20] - part.mean(0)) @ c.T, rtol=1e-6)  # fmt: skip
        # and the spectrum is that of before, so relations between channels are not whitened
        np.testing.assert_allclose(np.linalg.eigvalsh(covariance), values / scale**2, rtol=1e-6)


def test_the_projection_is_hadamard_times_eigenvectors():
    covariance = np.cov(parts([tokens(0, 64)])[1].T, bias=True)
    projection = phi_s_projection(covariance)
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(-values)
    rotated = projection @ vectors[:, order] * np.sqrt(values.mean() + 1e-6)
    # columns of H / sqrt(C), each of one of the two signs of its eigenvector
    expected = hadamard(C) / np.sqrt(C)
    signs = np.sign((rotated * expected).sum(0))
    np.testing.assert_allclose(rotated * signs, expected, atol=1e-9)


@pytest.mark.parametrize(
    'order', [1, 2, 12, 20, 28, 36, 192, 384, 768, 1000, 1024, 1152, 1280, 1408, 1536, 1664]
)
def test_hadamard_matrices_of_the_widths_that_exist(order):
    matrix = hadamard(order)
    assert set(np.unique(matrix)) <= {-1.0, 1.0}
    assert np.array_equal(matrix @ matrix.T, order * np.eye(order))


@pytest.mark.parametrize('order', [0, 3, 6, 18, 92])
def test_other_widths_are_refused(order):
    with refused("target='phi_s'", f'{order} rows', "target='mean_std'"):
        hadamard(order)


@KINDS
def test_until_it_is_measured_the_statistics_so_far_count(kind):
    batches = [tokens(0), tokens(1)]
    target = measured(kind, batches, fixed=False)
    assert not target.is_settled
    value = target(batches[1], 1).numpy()[:, 1:]
    seen = parts(batches)[1]
    variance = seen.var(0) if kind == 'mean_std' else seen.var(0).mean()
    expected = (batches[1][:, 1:].numpy() - seen.mean(0)) / np.sqrt(variance + 1e-6)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9)


@KINDS
def test_afterwards_nothing_changes_it(kind):
    target = measured(kind, [tokens(0), tokens(1)])
    before = copy.deepcopy(target.state_dict())
    value = target(tokens(5), 1)
    target.measure(tokens(2, scale=50), 1, 3)
    target.measure(tokens(3, scale=50), 1, 0)  # a resumed run that counts anew changes nothing
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())
    assert torch.equal(target(tokens(5), 1), value)


@KINDS
def test_micro_batches_of_an_update_count_together(kind):
    whole, parted = (build_target(dict(type=kind, channels=C, updates=2)) for _ in range(2))
    for update in range(3):
        batch = tokens(update)
        whole.measure(batch, 1, update)
        for part in batch.split(2):
            parted.measure(part, 1, update)
    for name, tensor in whole.state_dict().items():
        assert torch.allclose(tensor, parted.state_dict()[name], rtol=1e-9, atol=1e-9), name


def _rank(rank: int, port: int, kind: str, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.distributed.init_process_group('gloo', rank=rank, world_size=2)
    target = build_target(dict(type=kind, channels=C, updates=2))
    for update in range(3):  # unequal parts
        target.measure(tokens(update).split([3, 5])[rank], 1, update)
    torch.save(target.state_dict(), f'{folder}/{rank}.pth')
    torch.distributed.destroy_process_group()


@KINDS
def test_two_processes_measure_what_one_does(kind, tmp_path):
    context, port = multiprocessing.get_context('fork'), free_port()
    ranks = [context.Process(target=_rank, args=(r, port, kind, str(tmp_path))) for r in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
    assert [process.exitcode for process in ranks] == [0, 0]
    one = measured(kind, [tokens(0), tokens(1)]).state_dict()
    both = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    for name, tensor in one.items():
        assert torch.equal(both[0][name], both[1][name]), name
        assert torch.allclose(tensor, both[0][name], rtol=1e-9, atol=1e-9), name


@KINDS
def test_a_batch_with_a_number_that_is_not_finite_is_left_out(kind):
    broken = tokens(5)
    broken[0, 2, 3] = float('nan')
    target, plain = (build_target(dict(type=kind, channels=C, updates=9)) for _ in range(2))
    for update, batch in enumerate((broken, tokens(0), broken)):
        target.measure(batch, 1, update)
    plain.measure(tokens(0), 1, 0)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[name]), name
    assert target(tokens(1), 1).isfinite().all()
    nothing = build_target(dict(type=kind, channels=C))
    nothing.measure(broken, 1, 0)
    assert torch.equal(nothing(tokens(1), 1), tokens(1))


@KINDS
@pytest.mark.parametrize('at', [1, 4])
def test_what_was_measured_is_in_the_checkpoint(kind, at):
    """While it is measured and afterwards: the run goes on with the very same targets."""
    first = build_target(dict(type=kind, channels=C, updates=3))
    for update in range(at):
        first.measure(tokens(update), 1, update)
    second = build_target(dict(type=kind, channels=C, updates=3))
    second(tokens(0), 1)
    second.load_state_dict(first.state_dict())
    assert second.is_settled is (at > 3)
    for update in range(at, 6):
        first.measure(tokens(update), 1, update)
        second.measure(tokens(update), 1, update)
        assert torch.equal(first(tokens(9), 1), second(tokens(9), 1))
    assert second.is_settled


# In a distiller -----------------------------------------------------------------------------------


def measuring(kind: str, **changes):
    cfg = stage1_cfg()
    cfg['distillation']['losses']['loss_tokens']['target'] = dict(type=kind, updates=2, **changes)
    return distiller_of(cfg)


def distiller_of(cfg):
    torch.manual_seed(0)
    model = SpecificDistiller(student=cfg['model'], **cfg['distillation'])
    model.init_weights()
    return model


@KINDS
def test_a_distiller_measures_once_a_step_and_the_student_does_not_have_it(kind):
    model = measuring(kind)
    target = model.distillation.losses['loss_tokens'].target
    assert target.channels == 20
    torch.manual_seed(1)
    losses = model(images(4), mode='loss')
    assert target.count.tolist() == [4, 4 * 16]
    assert losses['loss_tokens'].dtype == torch.float32
    assert losses['explained_variance'].isfinite()
    model.eval()
    model(images(4), mode='loss')  # only training is measured
    assert target.count.tolist() == [4, 4 * 16]
    names = {name for name in model.state_dict() if '.target.' in name}
    assert {name.rpartition('.')[2] for name in names} == {'count', 'mean', 'spread', 'settled'}
    assert not [name for name in model.deployable_state() if 'target' in name]


def test_the_explained_share_is_of_the_standardised_target():
    """A channel as large as all others together would be all that is explained otherwise."""
    model = measuring('mean_std')
    loss = model.distillation.losses['loss_tokens']
    raw = 10 * torch.randn(3, 17, 20)
    raw[..., 0] *= 1000
    loss.measure(0, raw, raw)
    predicted = loss.target(raw, 1)
    predicted[..., 0] = 0
    value = loss.explained_variance(predicted, raw).item()
    assert value == pytest.approx(0.95, abs=0.02)


def test_a_width_that_nothing_says_is_asked_for():
    cfg = stage1_cfg()
    cfg['distillation']['adapters'] = {}
    loss = cfg['distillation']['losses']['loss_tokens']
    loss['target'] = 'mean_std'
    with refused('distillation.losses.loss_tokens.target', 'give channels', 'channels=768'):
        distiller_of(cfg)
    loss['target'] = dict(type='mean_std', channels=20)
    assert distiller_of(cfg).distillation.losses['loss_tokens'].target.channels == 20
    loss['target'] = dict(type='mean_std', channels=24)
    cfg['distillation']['adapters'] = stage1_cfg()['distillation']['adapters']
    with refused('24 channels', 'has 20', 'target.channels=20'):
        distiller_of(cfg)(images(), mode='loss')
    with refused('target.updates=0'):
        build_target(dict(type='phi_s', updates=0))


def test_a_run_that_ends_before_is_warned_of(tmp_path, logger):
    model = measuring('mean_std')
    run = runner(tmp_path, Slope())
    run.model = model
    run.build_train_loop(run._train_loop)
    for updates, warned in ((8, True), (7, False)):
        model.distillation.losses['loss_tokens'].target.updates = updates
        logger.handlers[0].lines.clear()
        run.logger = logger
        LossWarmupHook().before_train(run)
        assert any('never come to rest' in line for line in logger.handlers[0].lines) is warned


def test_a_hook_refuses_what_its_checkpoints_would_not_hold(tmp_path):
    made = block(tmp_path)
    made['losses'] = dict(loss_dist=dict(type='MSEFeatureLoss', tap='logits',
                                         target=dict(type='mean_std', channels=3)))  # fmt: skip
    run = runner(tmp_path, student(), custom_hooks=[DistillationHook(**made)])
    with pytest.raises(ValueError, match=words('cannot do losses.loss_dist', 'layernorm')):
        run.train()
