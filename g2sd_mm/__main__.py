"""``python -m g2sd_mm COMMAND`` and ``g2sd COMMAND``: the scripts of ``tools/`` by their names."""

from __future__ import annotations

import importlib
import sys

from .version import __version__

COMMANDS = {
    'train': 'train a config: pre-training, stage 1, stage 2 or plain fine-tuning',
    'test': 'evaluate a checkpoint',
    'distill': 'from a folder of your images to a deployed student',
    'watch': 'show runs while they train: one page, or a report',
    'predict': 'predict pictures, folders and videos with a student',
    'serve': 'a web page to try a student on pictures',
    'infer': 'predict images with the student of a config',
    'reproduce': "run a results table's rows and write the report",
    'analyze': 'compare students with their teacher beyond the table',
    'compare': 'runs side by side: figures, configs, curves',
    'probe': 'what frozen features are worth: neighbours, linear layer, retrieval',
    'checkpoint': 'inspect, convert, extract or verify weights',
    'export': 'write ONNX, TorchScript or torch.export files; size and latency',
    'browse_data': 'draw what a model is fed',
    'pack_data': 'pack a folder of images into one file',
    'check_data': 'find what is wrong with a data set',
    'config': 'print a config, as it is written or as it will run',
}


def main() -> None:
    """Run the command that is named first, as its script does."""
    name = sys.argv[1] if len(sys.argv) > 1 else '--help'
    if name in ('-h', '--help'):
        sys.stdout.write(_usage() + '\n')  # at once: `head` may leave after the first line
        return
    if name == '--version':
        print(__version__)
        return
    if name == 'benchmark':
        print(
            'error: the benchmark needs a checkout of the project: run python tools/benchmark.py '
            'there',
            file=sys.stderr,
        )
        sys.exit(2)
    if name not in COMMANDS:
        print(f'error: no command {name}: there are {", ".join(COMMANDS)}', file=sys.stderr)
        sys.exit(2)
    sys.argv = [f'g2sd {name}', *sys.argv[2:]]
    importlib.import_module(f'g2sd_mm.cli.{name}').main()


def _usage() -> str:
    lines = [f'  {name:<12} {what}' for name, what in COMMANDS.items()]
    return '\n'.join(
        [
            'usage: g2sd COMMAND [arguments], or python -m g2sd_mm COMMAND [arguments]',
            '',
            *lines,
            '',
            'examples:',
            '  g2sd train coco/g2sd_vits_maskrcnn',
            '  g2sd train --help',
            '  torchrun --nproc_per_node 8 -m g2sd_mm train imagenet/g2sd_vits_generic '
            '--launcher pytorch',
        ]
    )


if __name__ == '__main__':
    main()
