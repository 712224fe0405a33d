"""``--auto-scale-lr``: the learning rate follows the images of an optimizer update."""

from __future__ import annotations

from mmengine.config import Config

from ..config.project import find_config
from ..errors import UserError


def scale_rate(cfg: Config, path: str) -> list[str]:
    """Let mmengine scale the rate to the batch, with what is accumulated counted too; in place.

    ``auto_scale_lr.base_batch_size`` is the images of an iteration, and the rate of a recipe is
    that of its own accumulation: 2048 images, of which the recipe of pre-training accumulates two.
    mmengine compares iterations. What ``--cfg-options`` changes in ``accumulative_counts`` is
    therefore put into the base.

    Args:
        cfg: of the run, with all options.
        path: config file, whose accumulation is the recipe's.

    Returns:
        lines for the log, if there is accumulation.

    Raises:
        UserError: if the config does not say which batch its rate is for.
    """
    settings = cfg.get('auto_scale_lr') or {}
    base = settings.get('base_batch_size')
    if not base:
        raise UserError(
            f'--auto-scale-lr: {path} does not say for which batch its learning rate is; add '
            '--cfg-options auto_scale_lr.base_batch_size=N, the images of an iteration of all '
            'processes'
        )
    recipe, now = _accumulation(Config.fromfile(find_config(path))), _accumulation(cfg)
    scaled = base * recipe / now
    fitted = int(scaled) if scaled == int(scaled) else scaled
    cfg.auto_scale_lr = dict(settings, enable=True, base_batch_size=fitted)
    if recipe == now:
        return []
    return [
        f'--auto-scale-lr counts the images of an update: the recipe has {base} x {recipe} '
        f'accumulated, so {fitted} x {now} here'
    ]


def _accumulation(cfg: Config) -> int:
    return (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
