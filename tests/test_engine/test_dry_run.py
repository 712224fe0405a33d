"""What would fail at the first validation fails before the first step, and nothing else changes."""

from __future__ import annotations

import copy
import logging
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from mmengine.runner import Runner, ValLoop
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.faults.children import Run
from benchmarks.faults.compare import differences
from benchmarks.faults.tasks import data_in, make_tasks, quick_folder
from g2sd_mm.checkpoints import read_weights
from g2sd_mm.engine.hooks import dry_run
from g2sd_mm.engine.hooks.dry_run import DryRunHook
from g2sd_mm.engine.undisturbed import borrowed, silent, single_process, undisturbed
from g2sd_mm.errors import DataError, RunError, UserError
from g2sd_mm.runs.train import train

from ..helpers.runs import Slope, runner
from ..helpers.toys import Lines, words


class Needs(BaseMetric):
    """Counts images; fails on fewer than it needs."""

    default_prefix = 'n'

    def __init__(self, needs: int = 1, names: tuple = ('value',), **kwargs) -> None:
        super().__init__(**kwargs)
        self.needs, self.names = needs, names
        self.seen: list[int] = []

    def process(self, data_batch, data_samples):
        self.results += [1] * len(data_samples)
        self.seen.append(len(data_samples))

    def compute_metrics(self, results):
        if len(results) < self.needs:
            raise ValueError(f'{len(results)} samples are too few')
        self.computed = True
        return dict.fromkeys(self.names, float('nan'))


class Answers(Slope):
    """Predicts something of each image; draws, and counts how often in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('asked', torch.zeros(()))
        self.drop = nn.Dropout(0.5)

    def forward(self, inputs=None, data_samples=None, mode='tensor'):
        if mode == 'predict':
            assert not self.training
            self.asked += 1
            torch.rand(1), np.random.rand(), random.random()
            return [{'number': i} for i in range(len(inputs))]
        loss = super().forward(inputs, data_samples, mode)
        return {'loss': loss['loss'] * (1 + torch.rand(()) + random.random() + np.random.rand())}


class Items(list):
    """Images and nothing else; reading one draws numbers."""

    def __getitem__(self, index):
        random.random()
        return super().__getitem__(index)


def images(number: int = 100, batch_size: int = 4) -> DataLoader:
    items = Items({'inputs': torch.full((3, 4, 4), float(i))} for i in range(number))
    return DataLoader(items, batch_size)


def tried_run(folder: Path, *metrics, model=None, tried: bool = True, hooks=(), save_best=None,
              images_=None, **dry_run) -> Runner:  # fmt: skip
    hook = [dict(type='DryRunHook', **dry_run)] if tried else []
    checkpoint = dict(type='CheckpointHook', interval=1, save_best=save_best, rule='greater')
    run = runner(
        folder, model or Answers(),
        val_dataloader=images() if images_ is None else images_, val_cfg=dict(),
        val_evaluator=Evaluator(list(metrics or [Needs()])),
        default_hooks=dict(logger=None, checkpoint=checkpoint),
        custom_hooks=[dict(type='WeightsExportHook'), *hook, *hooks],
    )  # fmt: skip
    run.lines = Lines()
    run.logger.setLevel(logging.INFO)
    run.logger.addHandler(run.lines)
    return run


def said(run: Runner) -> str:
    (line,) = [line for line in run.lines.lines if 'dry run in' in line]
    return line


# What is found ------------------------------------------------------------------------------------


def test_a_right_run_says_what_was_tried(tmp_path):
    run = tried_run(tmp_path)
    run.train()
    assert '2 validation images give n/value; weights.pth can be read again' in said(run)
    assert run.iter == 8


def test_images_are_spread_over_the_data_and_batched_as_validation_does(tmp_path):
    class Sees(Answers):
        def forward(self, inputs=None, data_samples=None, mode='tensor'):
            if mode == 'predict' and len(seen) < 2:
                seen.append(inputs[:, 0, 0, 0].tolist())
            return super().forward(inputs, data_samples, mode)

    seen = []
    tried_run(tmp_path, model=Sees(), images=5).train()
    assert seen == [[0, 20, 40, 60], [80]]


@pytest.mark.parametrize(('needs', 'images_'), [(2, 2), (9, 64), (40, 64)])
def test_an_evaluator_that_needs_several_images_gets_them(tmp_path, needs, images_):
    run = tried_run(tmp_path, Needs(needs))
    run.train()
    assert f': {images_} validation images give' in said(run)


def test_an_evaluator_that_needs_more_is_refused_with_a_way_out(tmp_path):
    pattern = words(
        'val_evaluator (Needs)', '64 of 100', 'too few', 'reliability.dry_run.images=100'
    )
    with pytest.raises(UserError, match=pattern):
        tried_run(tmp_path, Needs(90)).train()
    assert list(tmp_path.glob('*.pth')) == []
    tried_run(tmp_path, Needs(90), images=100).train()


def test_of_few_images_all_are_tried_before_it_is_refused(tmp_path):
    run = tried_run(tmp_path, Needs(5), images_=images(5))
    run.train()
    assert ': 5 validation images give' in said(run)
    with pytest.raises(UserError) as caught:
        tried_run(tmp_path, Needs(6), images_=images(5)).train()
    assert '5 of 5' in str(caught.value)
    assert 'dry_run.images' not in str(caught.value)


class Fails(Needs):
    def process(self, data_batch, data_samples):
        raise KeyError('gt_label')


def test_an_evaluator_that_cannot_read_the_samples_is_refused_at_once(tmp_path):
    with pytest.raises(UserError, match=words('val_evaluator (Fails)', 'KeyError', 'gt_label')):
        tried_run(tmp_path, Fails()).train()


def test_the_annotations_that_an_evaluator_reads_may_be_at_fault(tmp_path):
    run = tried_run(tmp_path, Fails())
    run.cfg.val_evaluator = [dict(type='Fails', ann_file='truth.json'), dict(type='Other')]
    with pytest.raises(UserError, match=r'val_evaluator or the annotations in truth\.json$'):
        run.train()


def test_an_error_that_says_its_own_cure_gets_no_other(tmp_path):
    class Refuses(Needs):
        def process(self, data_batch, data_samples):
            raise DataError('truth.json: image 3 has no id: give it one')

    with pytest.raises(UserError, match=r'give it one\)$'):
        tried_run(tmp_path, Refuses()).train()


def test_validation_data_that_cannot_be_read_are_refused(tmp_path):
    class Broken(Items):
        def __getitem__(self, index):
            raise FileNotFoundError('no file a.jpg')

    data = DataLoader(Broken([1, 2, 3]), 2)
    with pytest.raises(UserError, match=words('the validation data', 'a.jpg', 'val_dataloader')):
        tried_run(tmp_path, images_=data).train()
    with pytest.raises(UserError, match=words('val_dataloader has no image')):
        tried_run(tmp_path, images_=DataLoader(Items(), 2)).train()


def test_a_model_that_does_not_predict_is_refused(tmp_path):
    class Mute(Slope):
        def forward(self, inputs=None, data_samples=None, mode='tensor'):
            if mode == 'predict':
                raise RuntimeError('size mismatch')
            return super().forward(inputs, data_samples, mode)

    with pytest.raises(UserError, match=words('the prediction', 'size mismatch', 'mend model')):
        tried_run(tmp_path, model=Mute()).train()


def test_a_metric_of_save_best_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(UserError) as caught:
        tried_run(tmp_path, Needs(names=('recall', 'precision')), save_best='acc/prec').train()
    text = str(caught.value)
    assert "save_best names 'acc/prec', and val_evaluator gives n/recall, n/precision" in text
    assert 'default_hooks.checkpoint.save_best=n/precision' in text
    # and the advice works
    tried_run(
        tmp_path, Needs(names=('recall', 'precision')), save_best='n/precision'
    ).train()


def test_save_best_of_an_evaluator_without_metrics_is_refused(tmp_path):
    with pytest.raises(UserError, match=words('gives none at all', 'save_best=None')):
        tried_run(tmp_path, Needs(names=()), save_best='acc').train()
    tried_run(tmp_path, Needs(names=())).train()


def test_a_metric_that_comes_with_more_images_is_not_refused(tmp_path):
    class Later(Needs):
        def compute_metrics(self, results):
            return {'value': 1.0} if len(results) > 10 else {}

    run = tried_run(tmp_path, Later(), save_best='n/value')
    run.train()
    assert ': 64 validation images' in said(run)


def test_an_automatic_choice_that_mmengine_cannot_make_is_refused(tmp_path):
    run = tried_run(tmp_path, Needs(names=('wonders',)), save_best='auto')
    run.train()  # the rule is given
    run = tried_run(tmp_path, Needs(names=('wonders',)), save_best='auto')
    saving = next(hook for hook in run.hooks if hasattr(hook, 'save_best'))
    saving.rules = [None]
    with pytest.raises(UserError, match=words('n/wonders', 'default_hooks.checkpoint.rule')):
        run.train()


@pytest.mark.parametrize('strict', [True, False])
def test_a_metric_that_ends_a_run_early_is_looked_for(tmp_path, strict):
    hook = dict(type='EarlyStoppingHook', monitor='acc', rule='greater', strict=strict)
    run = tried_run(tmp_path, hooks=[hook])
    if not strict:
        run.train()
        return
    with pytest.raises(UserError, match=words('EarlyStoppingHook', "'acc'", 'take n/value')):
        run.train()


def test_a_metric_that_lowers_the_rate_is_looked_for(tmp_path):
    run = tried_run(tmp_path)
    run.param_schedulers = [dict(type='ReduceOnPlateauLR', monitor='acc', rule='greater')]
    with pytest.raises(UserError, match=words('ReduceOnPlateauLR in param_scheduler', "'acc'")):
        run.train()


def test_weights_that_cannot_be_read_again_are_refused(tmp_path, monkeypatch):
    read = dry_run.read_weights

    def other(path):
        weights = read(path)
        weights.state['weight'] += 1
        return weights

    monkeypatch.setattr(dry_run, 'read_weights', other)
    with pytest.raises(UserError, match=words('the export of weights.pth', 'not what was written')):
        tried_run(tmp_path).train()
    assert not [path for path in tmp_path.rglob('*') if path.suffix in ('.pth', '.tmp')]


def test_a_network_that_opens_files_trains_and_the_log_says_what_it_takes(tmp_path):
    lines = Lines()
    logger = logging.Logger('run')
    logger.addHandler(lines)
    network = dict(
        task='detection', scope='mmdet', imports=[], test_pipeline=[], classes=[],
        model=dict(type='Detector', language_model='here/bert'),
    )  # fmt: skip
    record = dict(network=network, origin={})
    state = {'weight': torch.ones(2)}
    dry_run._reload(SimpleNamespace(work_dir=tmp_path, logger=logger), state, record)
    (line,) = lines.lines
    assert 'without its config' in line and "language_model='here/bert'" in line
    assert not list(tmp_path.iterdir())


def test_what_the_machine_does_is_not_blamed_on_the_config(tmp_path):
    class Large(Slope):
        def forward(self, inputs=None, data_samples=None, mode='tensor'):
            raise MemoryError

    with pytest.raises(MemoryError):
        tried_run(tmp_path, model=Large()).train()


def test_pre_training_has_only_its_export_tried(tmp_path):
    run = runner(
        tmp_path, Slope(), custom_hooks=[dict(type='DryRunHook'), dict(type='WeightsExportHook')]
    )
    run.lines = Lines()
    run.logger.setLevel(logging.INFO)
    run.logger.addHandler(run.lines)
    run.train()
    assert said(run).endswith(': weights.pth can be read again')


def test_a_loop_of_another_kind_is_left_alone(tmp_path):
    class Theirs(ValLoop):
        pass

    run = tried_run(tmp_path, Needs(90))
    run._val_loop = Theirs(run, images(), Evaluator([Needs(90)]))
    run.train()
    assert 'Theirs is not tried' in said(run)


def test_a_stream_of_images_is_left_alone(tmp_path):
    class Stream(IterableDataset):
        def __iter__(self):
            yield {'inputs': torch.zeros(3, 4, 4)}

    hook = DryRunHook()
    run = tried_run(tmp_path)
    loop = ValLoop(run, DataLoader(Stream()), Evaluator([Needs(90)]))
    run._val_loop = loop
    assert hook._evaluate(run) == 'a stream of validation images is not tried'


def test_no_image_is_a_setting_that_is_refused():
    with pytest.raises(UserError, match=words('images=0', 'reliability.dry_run=None')):
        DryRunHook(images=0)


# What is left behind: nothing ---------------------------------------------------------------------


class Remembers(Hook):
    """The state of everything at the first step."""

    priority = 'VERY_LOW'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 0:
            state = np.random.get_state()
            self.found = (
                random.getstate(), state[1].tolist(), state[2], torch.get_rng_state().tolist(),
                runner.model.asked.item(), runner.model.weight.item(),
                [metric.results for metric in runner.val_loop.evaluator.metrics],
                [sorted(vars(metric)) for metric in runner.val_loop.evaluator.metrics],
                [metric.seen for metric in runner.val_loop.evaluator.metrics],
                [module.training for module in runner.model.modules()],
                dict(runner.message_hub.runtime_info), sorted(runner.message_hub.log_scalars),
                sorted(p.suffix for p in Path(runner.work_dir).iterdir() if p.is_file()),
                logging.root.manager.disable,
            )  # fmt: skip


def test_the_run_is_bit_for_bit_that_without_it(tmp_path):
    found, ends = [], []
    for tried in (True, False):
        hook = Remembers()
        run = tried_run(tmp_path / str(tried), tried=tried, hooks=[hook])
        run.train()
        found.append(hook.found)
        ends.append(read_weights(tmp_path / str(tried) / 'weights.pth').state)
    for one, other in zip(*found, strict=True):
        if isinstance(one, dict):  # names of this run: times, paths, experiment
            keys = set(one) & {'iter', 'epoch', 'loop_stage', 'max_iters', 'mode'}
            one, other = ({key: part.get(key) for key in keys} for part in (one, other))
        assert one == other
    assert torch.equal(ends[0]['weight'], ends[1]['weight'])
    assert torch.equal(ends[0]['asked'], ends[1]['asked'])


def test_what_a_logger_said_before_it_says_no_more():
    """mmengine's loggers keep what was enabled, and ``logging.disable`` does not reach them."""
    log = MMLogger.get_instance('tried')
    heard = []
    log.addHandler(SimpleNamespace(level=0, handle=lambda record: heard.append(record.msg)))
    log.warning('before')
    with silent():
        log.warning('within')
    log.warning('after')
    assert heard == ['before', 'after']



def test_an_evaluation_that_fails_leaves_nothing_either():
    model = Answers().train()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(1)
    wanted = torch.get_rng_state()
    with pytest.raises(KeyError), undisturbed(model), silent():
        model.forward(torch.zeros(1, 3, 4, 4), mode='predict')
        raise KeyError
    assert torch.equal(torch.get_rng_state(), wanted)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.is_grad_enabled()
    assert logging.root.manager.disable == 0


def test_frozen_parts_stay_in_the_mode_that_they_are_in():
    model = nn.Sequential(nn.Dropout(), nn.Dropout().eval()).train()
    model[1].eval()
    with undisturbed(model):
        assert not model[0].training
    assert [module.training for module in model.modules()] == [True, True, False]


def test_a_borrowed_metric_writes_elsewhere_and_forgets(tmp_path):
    metric = METRICS.build(dict(type='DumpResults', out_file_path=str(tmp_path / 'kept.pkl')))
    (tmp_path / 'else').mkdir()
    results = metric.results
    with borrowed(Evaluator([metric]), tmp_path / 'else'):
        metric.results.append(1)
        metric.dataset_meta = {'other': 1}
        assert metric.out_file_path == str(tmp_path / 'else' / 'kept.pkl')
    assert metric.out_file_path == str(tmp_path / 'kept.pkl')
    assert metric.results is results
    assert results == []
    assert metric.dataset_meta is None


def test_alone_a_process_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    with single_process():
        assert not torch.distributed.is_initialized()
    assert torch.distributed.is_initialized()


# Several processes --------------------------------------------------------------------------------


@pytest.mark.parametrize(('users', 'kind'), [(True, UserError), (False, RunError)])
def test_all_processes_end_if_the_first_one_fails(monkeypatch, users, kind):
    def heard(outcome):
        outcome[:] = [None, 'what it said', users]

    monkeypatch.setattr(dry_run, 'is_main_process', lambda: False)
    monkeypatch.setattr(dry_run, 'broadcast_object_list', heard)
    with pytest.raises(kind, match='what it said'):
        dry_run._by_the_first(lambda: pytest.fail('not in this process'))


def test_the_first_process_raises_its_own_error_after_the_others_know(monkeypatch):
    told = []
    monkeypatch.setattr(dry_run, 'broadcast_object_list', told.append)
    with pytest.raises(ZeroDivisionError):
        dry_run._by_the_first(lambda: 1 / 0)
    assert told == [[None, 'division by zero', False]]


# Detectors ----------------------------------------------------------------------------------------


def test_a_detector_that_finds_nothing_is_given_something():
    from mmengine.structures import InstanceData

    def answer(number: int) -> SimpleNamespace:
        found = InstanceData(
            bboxes=torch.zeros(number, 4), scores=torch.zeros(number),
            labels=torch.zeros(number, dtype=torch.long),
            masks=torch.zeros(number, 6, 8, dtype=torch.bool),
        )  # fmt: skip
        return SimpleNamespace(pred_instances=found, ori_shape=(6, 8))

    outputs = [answer(0), answer(0)]
    dry_run._answer_something(outputs)
    assert outputs[0].pred_instances.bboxes.tolist() == [[0, 0, 8, 6]]
    assert outputs[0].pred_instances.masks.shape == (1, 6, 8)
    assert len(outputs[1].pred_instances) == 0
    outputs = [answer(0), answer(2)]
    dry_run._answer_something(outputs)
    assert len(outputs[0].pred_instances) == 0


# All tasks ----------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def place():
    with quick_folder() as folder, data_in(folder):
        yield folder


@pytest.fixture(scope='module')
def tasks(place):
    return make_tasks(place, {'stage1': 1, 'cls': 1, 'det': 1, 'seg': 1})


SAID = {
    'stage1': '', 'cls': 'accuracy/top1, accuracy/top5', 'det': 'coco/bbox_mAP, ',
    'seg': 'aAcc, mIoU, mAcc',
}  # fmt: skip


def dry_line(work: Path) -> str:
    (log,) = work.glob('*/*.log')
    (line,) = [line for line in log.read_text().splitlines() if ': dry run in ' in line.replace(
        'INFO - ', ': ')]  # fmt: skip
    return line


@pytest.mark.slow
@pytest.mark.parametrize('name', list(SAID))
def test_every_task_is_tried_and_ends_as_without_it(place, tasks, name):
    for folder, options in (('with', {}), ('without', {'reliability.dry_run': None})):
        train(tasks[name].config, options, work_dir=str(place / f'{name}_{folder}'))
    line = dry_line(place / f'{name}_with')
    assert SAID[name] in line
    assert ('validation images' in line) is (name != 'stage1')
    assert line.endswith('weights.pth can be read again')
    assert differences(place / f'{name}_with', place / f'{name}_without') == []


@pytest.mark.slow
@pytest.mark.parametrize('name', ['cls', 'det', 'seg'])
def test_every_task_is_refused_before_its_first_step(place, tasks, name):
    """Exit code 2, one line, nothing in the work dir but the log; the advice is good."""
    wrong = {'default_hooks.checkpoint.save_best': 'accuracy/wrong'}
    work = place / f'{name}_refused'
    run = Run(tasks[name], work, options=wrong)
    assert run.wait() == [2], run.said
    (line,) = [line for line in run.said.splitlines() if line.startswith('error: ')]
    assert "save_best names 'accuracy/wrong'" in line
    assert run.steps == 0
    assert not [path.name for path in work.iterdir() if path.suffix in ('.pth', '.json', '.tmp')]
    option, _, value = line.split('--cfg-options ')[1].split()[0].partition('=')
    again = Run(tasks[name], place / f'{name}_mended', options={option: value})
    assert again.wait() == [0], again.said


@pytest.mark.slow
def test_two_processes_try_and_end_together(place):
    task = make_tasks(place, {'cls': 2})['cls']
    run = Run(task, place / 'two')
    assert run.wait() == [0, 0], run.said
    assert 'validation images give accuracy/top1' in dry_line(place / 'two')
    plain = Run(task, place / 'two_plain', options={'reliability.dry_run': None})
    assert plain.wait() == [0, 0], plain.said
    assert differences(place / 'two', place / 'two_plain') == []
    wrong = {'default_hooks.checkpoint.save_best': 'accuracy/wrong'}
    run = Run(task, place / 'two_refused', options=wrong)
    assert run.wait() == [2, 2], run.said
