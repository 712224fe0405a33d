"""What is done with every config of the matrix, step by step; each step's outcome in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DefaultScope

from g2sd_mm.checkpoints import read_weights
from g2sd_mm.engine.hooks.access import bare_model
from g2sd_mm.runs.predict import infer
from g2sd_mm.runs.test import evaluate
from g2sd_mm.runs.train import train
from g2sd_mm.students import load_student
from g2sd_mm.students.extract import extract_student
from g2sd_mm.text import one_line

from . import configs

STEPS = ('train', 'resume', 'test', 'infer', 'extract', 'teach', 'student')


@dataclass
class Chain:
    """One config on its way; ``outcomes`` has ``yes`` or the error's line by step."""

    cfg: dict[str, Any]
    name: str
    folder: Path
    image: Path
    distil: Callable[[dict[str, Any], str, str], dict[str, Any]]
    outcomes: dict[str, str] = field(default_factory=dict)

    def run(self) -> dict[str, str]:
        """Every step; after one that failed, those that need it are not tried."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = configs.write(self.cfg, self.folder / f'{self.name}.py')
        self.work_dir = self.folder / self.name
        for step in STEPS:
            DefaultScope._instance_dict.clear()
            try:
                getattr(self, f'_{step}')()
            except Exception as error:
                self.outcomes[step] = f'{type(error).__name__}: {one_line(error)}'
                break
            self.outcomes[step] = 'yes'
        return self.outcomes

    def _train(self) -> None:
        runner = train(self.config, work_dir=str(self.work_dir), compiled=False)
        assert runner.iter == 2
        state = read_weights(self.work_dir / 'weights.pth').state
        assert all(torch.isfinite(t).all() for t in state.values() if t.is_floating_point())

    def _resume(self) -> None:
        longer = {'max_iters': 4, 'val_interval': 4} if self._by_iter() else {'max_epochs': 2}
        options = {f'train_cfg.{key}': value for key, value in longer.items()}
        runner = train(
            self.config, options, work_dir=str(self.work_dir), resume='auto', compiled=False
        )
        assert runner.iter == 4

    def _test(self) -> None:
        metrics = evaluate(self.config, self._weights(), work_dir=str(self.folder / 'test'))
        assert metrics and any(math.isfinite(value) for value in metrics.values())
        written = json.loads((self.work_dir / 'weights.json').read_text())['origin']['metrics']
        same = {name: value for name, value in written.items() if name in metrics}
        assert same
        if not any(hook['type'] == 'EMAHook' for hook in self.cfg.get('custom_hooks') or ()):
            for name, value in same.items():
                assert math.isclose(metrics[name], value, abs_tol=1e-6) or math.isnan(value), name

    def _infer(self) -> None:
        (found,) = infer(self.config, self._weights(), [str(self.image)], str(self.folder / 'out'))
        assert set(found) & {'scores', 'instances', 'classes'}

    def _extract(self) -> None:
        name = 'iter_4.pth' if self._by_iter() else 'epoch_2.pth'
        done = extract_student(self.work_dir / name, self.folder / 'extracted' / 'student.pth')
        written, weights = read_weights(done.path).state, read_weights(self._weights()).state
        assert set(written) == set(weights) and done.left_behind == ()
        student = load_student(done.path)
        assert list(student.model.state_dict()) == list(weights)

    def _teach(self) -> None:
        distilled = self.distil(self.cfg, self.config, self._weights())
        config = configs.write(distilled, self.folder / f'{self.name}_distilled.py')
        self.distilled = self.folder / 'distilled'
        runner = train(config, work_dir=str(self.distilled), compiled=False)
        teacher = bare_model(runner).teacher.model.state_dict()
        weights = read_weights(self._weights()).state
        assert teacher and all(torch.equal(t, weights[name]) for name, t in teacher.items())
        assert runner.message_hub.get_scalar('train/loss_heard').current() > 0
        assert _reached(bare_model(runner), next(iter(runner.train_dataloader)))

    def _student(self) -> None:
        """What was distilled is of use without its teacher, in the plain config."""
        metrics = evaluate(
            self.config, str(self.distilled / 'weights.pth'), work_dir=str(self.folder / 'test')
        )
        assert metrics
        assert load_student(self.distilled).task

    def _weights(self) -> str:
        return str(self.work_dir / 'weights.pth')

    def _by_iter(self) -> bool:
        return 'max_iters' in self.cfg['train_cfg']


def _reached(model: Any, batch: Any) -> bool:
    """Whether a gradient of the distillation loss alone arrives at the student's backbone.

    Where the backbone is frozen, at anything of the student.
    """
    model.train().zero_grad()
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    losses['loss_heard'].backward()
    trained = [p for p in model.student.parameters() if p.requires_grad]
    own = [p for p in model.student.backbone.parameters() if p.requires_grad]
    return any(p.grad is not None and bool(p.grad.any()) for p in own or trained)
