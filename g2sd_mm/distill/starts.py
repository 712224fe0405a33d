"""Where a student starts, by what its teacher says of training images: nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from mmengine.dist import broadcast, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from ..engine.hooks.access import bare_model, updates_so_far
from ..engine.tensors import is_sharded
from ..engine.undisturbed import undisturbed
from ..errors import ConfigError
from ..models.masking import nothing_hidden
from ..models.slicing import Moments, Slice, slice_of
from ..models.vit import VisionTransformer
from .adapters import TokenAdapter
from .distiller import SpecificDistiller
from .loss_inputs import argument
from .losses.feature import RegressionLoss
from .losses.standardisation import measured_target
from .teachers import FrozenTeacher

_BATCH = 16
_RIDGE = 1e-6  # of the mean square of what an adapter sees


@HOOKS.register_module()
class FittedAdaptersHook(Hook):
    """Linear adapters start where least squares put them, not at random.

    ``distillation.fitted`` in a config has its arguments. Both networks answer some training
    images, without their labels; a ``TokenAdapter`` then starts as the linear map that takes the
    student's tokens nearest to the target of their loss. A random one pulls the student away from
    where it starts. In stage 1 views are drawn anew in each step, and adapters are no linear maps:
    there this does nothing. A run that goes on has its adapters already.

    Args:
        images: how many, spread over the training data.
    """

    priority = 'HIGH'  # before averages of weights and checksums are begun
    option = 'fitted'

    def __init__(self, images: int = 256) -> None:
        if images < 1:
            raise ConfigError(f'distillation.{self.option}.images={images}: give 1 or more')
        self.images = images

    def before_train(self, runner: Runner) -> None:
        """Start the student, unless the run goes on.

        Raises:
            ConfigError: if there is no single teacher, or a network that does not fit.
        """
        if updates_so_far(runner):
            return
        model = bare_model(runner)
        if not isinstance(model, SpecificDistiller) or len(model.teachers) != 1:
            raise ConfigError(
                f'distillation.{self.option} is for one student and its single teacher '
                '(teacher=dict(...))'
            )
        if is_sharded(list(model.parameters())):
            raise ConfigError(
                f'distillation.{self.option} needs whole weights, and those of this run are '
                f'sharded: train one update without sharding, then begin with load_from=WEIGHTS '
                f'and distillation.{self.option}=None'
            )
        with undisturbed(model):
            told = self.start(model, runner)
        if get_world_size() > 1:  # sums differ by rounding between devices
            for parameter in model.parameters():
                broadcast(parameter.data)
        runner.logger.info('by %d training images %s', self.images, told)

    def start(self, model: SpecificDistiller, runner: Runner) -> str:
        """Change the model in place; returns what was done."""
        fitted = _fit_adapters(model, _batches(runner, model, self.images))
        return f'adapters of {", ".join(fitted) or "nothing"} start where least squares put them'


@HOOKS.register_module()
class SlicedStartHook(FittedAdaptersHook):
    """The student's ViT starts as a slice of its teacher's, see :mod:`g2sd_mm.models.slicing`.

    ``distillation.sliced`` in a config has its arguments. What the teacher's layers see of some
    training images says what is kept. Adapters start as of :class:`FittedAdaptersHook`.

    Args:
        images: as there.
        linear: linear layers that both networks have right behind the ViT's last norm, such as
            ``head.fc``: they are cut to the student's width.
    """

    option = 'sliced'

    def __init__(self, images: int = 256, linear: Sequence[str] = ()) -> None:
        super().__init__(images)
        self.linear = tuple(linear)

    def start(self, model: SpecificDistiller, runner: Runner) -> str:
        """Change the model in place; returns what was done.

        Raises:
            ConfigError: if teacher or student is no ViT of this project, or they do not fit.
        """
        found = self._slice(model, runner)
        told = super().start(model, runner)
        wide, narrow = found.basis.shape
        return (
            f'the student starts as a slice of its teacher: {narrow} of {wide} directions, with '
            f'{found.kept:.1%} of what its layers see; {told}'
        )

    def _slice(self, model: SpecificDistiller, runner: Runner) -> Slice:
        teacher, student = model.teacher, cast(Any, model.student)
        large, small = _vit(teacher.model, 'teacher'), _vit(student, 'student')
        moments, masked = Moments(), hasattr(student, 'draw_view')
        with moments.record(large):
            for images in _batches(runner, model, self.images):
                teacher(images, nothing_hidden(images, student.num_patches) if masked else None)
        found = slice_of(large, moments, small)
        small.load_state_dict(found.state, strict=False)
        for path in self.linear:
            _cut(teacher, student, path, found)
        return found


def _vit(network: nn.Module, whose: str) -> VisionTransformer:
    for part in (network, getattr(network, 'backbone', None)):
        if isinstance(part, VisionTransformer):
            return part
    raise ConfigError(
        f'distillation.sliced needs a ViT of this project on both sides: the {whose} is '
        f'{type(network).__name__}'
    )


def _batches(runner: Runner, model: Any, number: int) -> Iterator[Tensor]:
    """Preprocessed training images [B, C, height, width], evenly spread over the data."""
    loader = runner.train_dataloader
    dataset = loader.dataset
    number = min(number, len(dataset))
    places = [i * len(dataset) // number for i in range(number)]
    for begin in range(0, number, _BATCH):
        batch = loader.collate_fn([dataset[i] for i in places[begin : begin + _BATCH]])
        images = model.data_preprocessor(batch, False)['inputs']
        yield images if isinstance(images, Tensor) else torch.stack(images)


def _cut(teacher: FrozenTeacher, student: nn.Module, path: str, found: Slice) -> None:
    """A linear layer behind the last norm, in place."""
    try:
        theirs, own = teacher.model.get_submodule(path), student.get_submodule(path)
    except AttributeError as error:
        raise ConfigError(f'distillation.sliced.linear names {path!r}: {error}') from error
    norms = [name for name in ('norm', 'fc_norm') if name in found.scales]
    fits = isinstance(own, nn.Linear) and isinstance(theirs, nn.Linear) and norms
    if not fits or own.weight.shape != (theirs.out_features, found.basis.shape[1]):
        raise ConfigError(
            f'distillation.sliced.linear={path!r} is not a linear layer of both networks, as many '
            "outputs each, behind the ViT's last norm: leave it out"
        )
    assert isinstance(theirs, nn.Linear)
    norm: Any = getattr(_vit(teacher.model, 'teacher'), norms[0])
    weight, bias = found.behind(norm, norms[0], theirs)
    own.load_state_dict({'weight': weight, 'bias': bias})


def _fit_adapters(model: SpecificDistiller, batches: Iterator[Tensor]) -> list[str]:
    """Fit them in place where the target is known before training; returns their taps."""
    distillation: Any = model.distillation
    losses = {name: loss for name, loss in distillation.losses.items() if _is_known(loss)}
    if hasattr(model.student, 'draw_view') or not losses:
        return []
    sums: dict[str, list[Any]] = {}
    for images in batches:
        taught = distillation.ask_teacher(images)
        with distillation.student_taps.record() as heard:
            model.student(images, mode='tensor')
        for name, loss in losses.items():
            places = distillation.loss_places(name)
            tap = str(places.get('student')).removeprefix('student.')
            if not isinstance(distillation.adapter(tap), TokenAdapter):
                continue
            if not isinstance(heard.get(tap), Tensor):
                continue  # several layers
            theirs = argument(places['teacher'], {'teacher': taught}, None, images)
            ours, target = loss.compared(heard[tap].float(), theirs, None)
            x = nn.functional.pad(ours.flatten(0, -2).double(), (0, 1), value=1.0)
            new = [x.T @ x, x.T @ target.flatten(0, -2).double()]
            sums[tap] = [a + b for a, b in zip(sums.get(tap, [0.0, 0.0]), new, strict=True)]
    for tap, (seen, wanted) in sums.items():
        ridge = _RIDGE * seen.diag().mean() * torch.eye(len(seen), device=seen.device).double()
        solution = torch.linalg.solve(seen + ridge, wanted)
        adapter = distillation.adapter(tap)
        adapter.weight.copy_(solution[:-1].T)
        adapter.bias.copy_(solution[-1])
    return list(sums)


def _is_known(loss: Any) -> bool:
    """Whether a loss compares tokens as they are with a target without statistics of the run."""
    plain = isinstance(loss, RegressionLoss) and not loss.of_directions
    return plain and not measured_target(loss)
