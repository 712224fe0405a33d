"""Labels of COCO files follow the names that were asked for, in their order.

mmdet numbers categories as they stand in the JSON, which need not be the order of ``metainfo``, nor
that of another JSON. Of class folders :mod:`.sample_lists` sees to it.
"""

import difflib
import functools
from collections import Counter
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from g2sd_mm.errors import DataError
from g2sd_mm.text import some


def order_categories(module: ModuleType) -> None:
    """Of ``mmdet.datasets.api_wrappers.coco_api``: labels are in the order that was asked for."""
    find = module.COCO.get_cat_ids

    @functools.wraps(find)
    def get_cat_ids(
        self: Any, cat_names: Any = (), sup_names: Any = (), cat_ids: Any = ()
    ) -> list[int]:
        found = find(self, cat_names=cat_names, sup_names=sup_names, cat_ids=cat_ids)
        if not cat_names or isinstance(cat_names, str) or sup_names or cat_ids:
            return found
        names = {number: category['name'] for number, category in self.cats.items()}
        return _in_order(found, names, cat_names, getattr(self, 'file', 'this file'))

    module.COCO.get_cat_ids = get_cat_ids


def _in_order(
    found: Sequence[int], names: dict[int, str], wanted: Sequence[str], file: str
) -> list[int]:
    """Category ids in the order of the wanted names.

    Raises:
        DataError: for a name that the file lacks (the labels of all after it would move), or has
            twice.
    """
    by_name = {names[number]: number for number in found}
    if len(by_name) < len(found):
        twice = next(n for n, times in Counter(names[i] for i in found).items() if times > 1)
        raise DataError(f'{file} has two categories of the name {twice!r}: rename one')
    if lacking := [name for name in wanted if name not in by_name]:
        near = difflib.get_close_matches(lacking[0], names.values(), n=1)
        raise DataError(
            f'{file} has no category {some(list(map(repr, lacking)), 5)}'
            + (f' (did you mean {near[0]!r}?)' if near else '')
            + f'; its categories are {some(list(names.values()), 20)}: list them as '
            'metainfo=dict(classes=(...)) of the data sets, or classes=(...) in the config'
        )
    return [by_name[name] for name in wanted]


def order_figures(module: ModuleType) -> None:
    """Figures by class in the order that was asked for: pycocotools sorts the ids."""
    for name in ('COCOeval', 'COCOevalMP'):
        if base := getattr(module, name, None):
            setattr(module, name, type(name, (_Ordered, base), {}))


class _Ordered:
    params: Any
    eval: Any

    def evaluate(self) -> None:
        self._asked = list(self.params.catIds)
        super().evaluate()  # type: ignore[misc]

    def accumulate(self, p: Any = None) -> None:
        super().accumulate(p)  # type: ignore[misc]
        ids = list(self.params.catIds)
        if not self.params.useCats or ids == self._asked:
            return
        order = [ids.index(number) for number in self._asked]
        for key in ('precision', 'recall', 'scores'):
            # [..., classes, areas, detections]
            self.eval[key] = self.eval[key][..., order, :, :]
