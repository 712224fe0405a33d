"""``checkpoint.py convert SRC DST --to LAYOUT``."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options import image_size

if TYPE_CHECKING:
    from ...checkpoints import Weights
    from ...checkpoints.convert import Conversion
    from ...checkpoints.layouts.rules import State

EXAMPLES = """examples:
  python tools/checkpoint.py convert work_dirs/g2sd_vits_cls/weights.pth student/ --to huggingface
  python tools/checkpoint.py convert mae_pretrain_vit_base.pth vit_448.pth --to ours --img-size 448
"""
#: Names of :data:`g2sd_mm.checkpoints.layouts.LAYOUTS`, which is slow to import.
LAYOUTS = ('ours', 'g2sd', 'mae', 'timm', 'huggingface', 'detectron2', 'mmpretrain', 'mmseg')
#: Names as they are, without what wrappers have added: for networks of any kind.
SAME = 'same'
_KEPT_AS_TEXT = ('positions', 'norm_pix', 'grid')  # of a file's meta, with the same tensors
_KEPT = (*_KEPT_AS_TEXT, 'student')


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Options of the sub-command."""
    p.add_argument('source', metavar='SRC', help='weights file, index or Hugging Face folder')
    p.add_argument(
        'target',
        metavar='DST',
        help='.pth, .safetensors or, for detectron2, .pkl; a folder for huggingface',
    )
    p.add_argument(
        '--to',
        required=True,
        choices=(*LAYOUTS, SAME),
        help='layout of DST; same: the names of SRC, without what DDP, torch.compile ... added',
    )
    p.add_argument(
        '--weights',
        choices=('raw', 'ema'),
        help='of a file with raw and averaged (EMA) weights, those to take',
    )
    p.add_argument(
        '--side',
        choices=('student', 'teacher'),
        default='student',
        help='which network to take from a file that holds two (student)',
    )
    p.add_argument(
        '--img-size',
        type=image_size,
        metavar='PX',
        help='resize position embeddings to this image size: 224, or 224x448 (height x width)',
    )
    p.add_argument(
        '--grid',
        type=image_size,
        metavar='RxC',
        help='rows x columns of patches that the positions of SRC are for, if it does not say them',
    )
    p.add_argument(
        '--positions',
        choices=('keep', 'transpose'),
        help='a transposed sin-cos table: keep it if the weights were trained with it, else '
        'transpose it',
    )
    p.add_argument(
        '--heads', type=int, help='attention heads, for widths that no published network has'
    )
    p.add_argument('--decoder-heads', type=int, help='attention heads of the decoder, likewise')
    p.add_argument(
        '--half', action='store_true', help='write float16: half the size, loaded as any other'
    )
    p.add_argument('--force', action='store_true', help='overwrite DST')


def run(args: argparse.Namespace) -> None:
    """Convert one file and say what was left out."""
    from ...checkpoints import read_weights
    from ...checkpoints.convert import from_published_names, halved, to_published_names
    from ...checkpoints.identify import doubt
    from ...checkpoints.layouts import LAYOUTS as layouts
    from ...checkpoints.layouts import Family
    from ...checkpoints.record import refuse_taken
    from ...checkpoints.write import write_layout
    from ...errors import UserError
    from ...text import printable

    target = Path(args.target)
    if target.exists() and not args.force:
        raise UserError(f'{target} exists: choose another DST, or overwrite it with --force')
    weights = read_weights(args.source, mmap=True, which=args.weights)
    refuse_taken(target, (args.source, *weights.files))
    if args.grid:
        weights = _with_grid(weights, args.grid)
    if args.to == SAME:
        _write_same(args, weights, target)
        return
    unsure = doubt(weights)
    published = to_published_names(weights.state, args.side, weights.grid)
    published, meta = _with_positions(published, weights, args.positions)
    if args.img_size:
        resized = _resized(published.state, args.img_size, weights.grid)
        published = replace(published, state=resized)
    meta |= _grid_of(published.state, args.img_size, weights)
    done = from_published_names(published, layouts[args.to])
    config = None
    if args.to == 'huggingface':
        config = _config(published.state, done, weights, args)
    if args.half:
        done = replace(done, state=halved(done.state))
    write_layout(target, done, {'converted_from': weights.name, **meta}, config)
    if config:
        _write_preprocessing(target, config, args.source)
    said = f'{weights.name}: {done.kind.title} -> {target} ({layouts[args.to].title})'
    print(printable(said))
    print(f'  {len(done.state)} tensors written')
    _warn_of_broken(done.state)
    if unsure:
        print(printable(f'  warning: {unsure}'))
    if done.dropped:
        print(f'  {len(done.dropped)} not held by the layout {args.to}:')
        print('\n'.join(f'    {printable(name)}' for name in done.dropped))
    if done.family is Family.DISTILLED and args.to not in ('ours', 'g2sd'):
        print('  the dist token is second there, with a position of zeros: the same features')


def _with_grid(weights: Weights, grid: tuple[int, int]) -> Weights:
    """The same, its meta with the grid, in the place of any that it has."""
    from ...errors import UserError

    text = f'{grid[0]}x{grid[1]}'
    for name, table in weights.state.items():
        if name.endswith(('pos_embed', 'position_embeddings')) and table.ndim == 3:
            extra = table.shape[1] - grid[0] * grid[1]
            if extra not in (1, 2):  # class token, and a dist token
                raise UserError(
                    f'--grid {text}: {name} of {weights.name} has {table.shape[1]} positions, and '
                    f'{text} patches with a class token, and a dist token, take '
                    f'{grid[0] * grid[1] + 1}, or one more'
                )
            return replace(weights, meta={**weights.meta, 'grid': text})
    raise UserError(f'--grid {text}: {weights.name} has no positions: leave --grid out')


def _write_same(args: argparse.Namespace, weights: Weights, target: Path) -> None:
    """Write the tensors under their names, and the JSON that describes them beside them."""
    from ...checkpoints.convert import halved
    from ...checkpoints.record import known_record, parameters_in, write_sidecar
    from ...checkpoints.write import write_weights
    from ...errors import UserError
    from ...text import printable

    if target.suffix not in ('.pth', '.safetensors'):
        raise UserError(f'{target}: --to {SAME} writes .pth or .safetensors')
    if args.img_size or args.positions:
        raise UserError(f'--to {SAME} changes no shape: leave --img-size and --positions out')
    source = Path(args.source)
    record = known_record(source) if source.is_file() else None
    state = halved(weights.state) if args.half else weights.state
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = _KEPT if target.suffix == '.pth' else _KEPT_AS_TEXT
    meta = {key: weights.meta[key] for key in kept if key in weights.meta}
    write_weights(target, state, {'converted_from': weights.name, **meta})
    if record is not None:
        write_sidecar(target, record, parameters_in(state), converted_from=source)
    said = f'{weights.name} -> {target}: {len(state)} tensors, names as they are'
    print(printable(said))
    _warn_of_broken(state)


def _warn_of_broken(state: State) -> None:
    from ...checkpoints.load import defects
    from ...text import printable, some

    if broken := defects(state):
        print(printable(f'  warning: {len(broken)} broken ({some(broken)}): such weights are '
                        'refused as a student, teacher or start'))  # fmt: skip


def _with_positions(
    published: Conversion, weights: Weights, choice: str | None
) -> tuple[Conversion, dict[str, Any]]:
    """Settle what a transposed position embedding is; see :mod:`...checkpoints.positions`."""
    from ...checkpoints.layouts import LAYOUTS as layouts
    from ...checkpoints.positions import (
        TRAINED_TRANSPOSED,
        check_positions,
        is_transposed,
        transpose_positions,
    )
    from ...errors import UserError

    table = published.state.get('pos_embed')
    if table is None or not is_transposed(table):
        if choice:
            raise UserError(
                f'{weights.name} has no transposed sin-cos table: leave --positions out'
            )
        return published, {}
    if choice == 'transpose':
        return replace(published, state=transpose_positions(published.state)), {}
    if choice is None and published.layout != layouts['mmpretrain'].name:
        check_positions(weights, table)
    return published, dict(TRAINED_TRANSPOSED)


def _grid_of(state: State, size: tuple[int, int] | None, weights: Weights) -> dict[str, Any]:
    """``grid`` of the file's meta, where its positions are for images that are not square."""
    if size:
        patch = next(t.shape[-1] for n, t in state.items() if n.endswith('patch_embed.proj.weight'))
        grid = f'{size[0] // patch}x{size[1] // patch}'
        return {'grid': grid} if size[0] != size[1] else {}
    return {'grid': weights.meta['grid']} if weights.meta.get('grid') else {}


def _resized(state: State, size: tuple[int, int], known: tuple[int, int] | None) -> State:
    from ...errors import UserError
    from ...models.fit import fit_to_image

    try:
        return fit_to_image(state, size, known)
    except ValueError as error:
        raise UserError(f'--img-size: {error}') from error


def _config(
    published: State, done: Conversion, weights: Weights, args: argparse.Namespace
) -> dict[str, Any]:
    """``config.json``; heads are asked for where neither file nor width tells them."""
    from ...agreement.weights import recorded
    from ...checkpoints.facts import network_size
    from ...checkpoints.layouts.huggingface import hugging_face_config
    from ...errors import UserError
    from ...models.sizes import usual_decoder_heads, usual_heads

    size = network_size(published, weights.config, weights.grid)
    if not isinstance(size.get('image', 0), int) or 'patches' in size:
        raise UserError(
            f'{weights.name} is for images that are not square, and config.json has one side: '
            'resize its positions with --img-size PX'
        )
    facts = recorded(args.source)
    told = args.heads or (facts.attention and facts.attention[1]) or size.get('heads')
    heads = told or usual_heads(size['width'])
    decoder_heads = args.decoder_heads or weights.config.get('decoder_num_attention_heads')
    if 'decoder width' in size:
        decoder_heads = decoder_heads or usual_decoder_heads(size['decoder width'])
        if not decoder_heads:
            raise UserError(
                f'no usual number of heads for a decoder of width {size["decoder width"]}: '
                'give --decoder-heads'
            )
    if not heads:
        raise UserError(f'no usual number of heads for width {size["width"]}: give --heads')
    if not told:
        print(f'{heads} heads of attention are taken (--heads), as its width has them')
    config = hugging_face_config(published, done.family, heads, decoder_heads)
    if facts.classes and len(facts.classes) == len(config.get('id2label', ())):
        config['id2label'] = {str(i): name for i, name in enumerate(facts.classes)}
        config['label2id'] = {name: i for i, name in enumerate(facts.classes)}
    return config


def _write_preprocessing(folder: Path, config: dict[str, Any], source: str) -> None:
    """``preprocessor_config.json``, of weights that say their normalisation."""
    from ...agreement.weights import recorded
    from ...whole_files import write_text

    inputs = recorded(source).inputs
    if not (inputs.mean and inputs.std and inputs.channels == 'RGB'):  # transformers gives RGB
        return
    side = config['image_size']
    content = dict(
        image_processor_type='ViTImageProcessor',
        do_resize=True, size=dict(height=side, width=side), resample=3,
        do_rescale=True, rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=[value / 255 for value in inputs.mean],
        image_std=[value / 255 for value in inputs.std],
    )  # fmt: skip
    write_text(folder / 'preprocessor_config.json', json.dumps(content, indent=2) + '\n')
