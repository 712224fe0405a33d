"""Installation of g2sd_mm: ``pip install -e .``, or ``make setup`` for a whole environment."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent

REQUIREMENTS = [
    # torch.serialization.add_safe_globals, on which safe checkpoint reading rests, came with 2.4.
    'torch>=2.4',
    # Stands in for the compiled ops of mmcv (NMS, RoIAlign, ...).
    'torchvision',
    # Layers of vision transformers under the import paths of timm 1.0.
    'timm>=1.0.9',
    # The maintained OpenMMLab 2.x distributions. Pinned, because g2sd_mm/compat patches their
    # internals and numbers are reproduced with them. All five are listed, because the three task
    # libraries declare neither mmengine nor mmcv.
    'onedl-mmengine==0.10.12',
    'onedl-mmcv==2.3.6',
    'onedl-mmdetection==3.5.1',
    'onedl-mmpretrain==1.3.6',
    'onedl-mmsegmentation==1.4.2',
    # Imported by our own code, so declared although the libraries above bring them too.
    'filelock',  # one run at a time in a work dir; torch requires it too
    'imagecorruptions-imaug',  # noise, blur, fog, ... of tools/analyze.py
    'jinja2',  # pages of the reports
    'matplotlib',  # plots of the reports
    'numpy',
    'opencv-python-headless',  # image decoding; the build that needs no graphics libraries
    'pycocotools',  # masks and detection metrics
    'rich',  # progress bars
    'safetensors',  # checkpoints that cannot hold code
    'scipy',  # intervals of the reports
    'scikit-image',  # shapes of the embedded data
    'simplejpeg',  # decodes JPEG faster than OpenCV, to the same pixels, and in part
    # mmengine's Runner imports distutils, which left Python in 3.12 and lives on in setuptools.
    'setuptools; python_version >= "3.12"',
]

# Pinned: exported graphs are made by these, and onnxscript follows torch's exporter release by
# release. tools/export.py asks for them only where it writes ONNX.
EXPORT = [
    'onnx==1.23.2',  # the file format
    'onnxscript==0.7.2',  # torch.onnx.export is written in it
    # Runs the files, to check them and to quantise; 1.23.2 is the last for Python 3.10.
    'onnxruntime==1.32.0; python_version >= "3.11"',
    'onnxruntime==1.23.2; python_version < "3.11"',
]

# Pinned: warnings of the site are errors, and another release has other warnings. Sphinx, because
# MkDocs 1.x and its Material theme are no longer maintained, and because it reads the roles in the
# docstrings (:class:`...`). All of them build without a network. Sphinx 9 needs Python 3.11.
DOCS = [
    requirement + '; python_version >= "3.11"'
    for requirement in (
        'sphinx==9.0.4',
        'furo==2025.12.19',  # the look
        'myst-nb==1.4.0',  # Markdown pages and the notebook
        'sphinx-autoapi==3.9.0',  # API pages from the source, without importing torch
        'sphinx-copybutton==0.5.2',
        'sphinx-design==0.7.0',  # tabs
        'latex2mathml==3.81.1',  # formulas that browsers draw without a script
    )
]

# One file instead of a folder of images (tools/pack_data.py): read by number from any process, by a
# library without dependencies.
PACKED = ['lmdb']

# The page of tools/serve.py: routes, and the server that runs them.
SERVE = ['starlette>=1.0', 'uvicorn']

# Files of the checkout that the installed package needs, as packages of copies:
# g2sd_mm/config/project.py finds them in either place.
FOLDERS = [
    'tools',
    'docs/images',
    'docs/results',
    *sorted(f'configs/{folder.name}' for folder in (ROOT / 'configs').glob('[!_.]*')),
    'configs/_base_',
    'configs/shapes/teachers',
]
COPIES = {f'g2sd_mm._files.{folder.replace("/", ".")}': folder for folder in FOLDERS}

EXTRAS = {
    'dev': [
        'hypothesis',
        'pytest',
        'pytest-xdist',
        'ruff',
        'mypy==2.4.1',  # another release finds other things
        'types-PyYAML',  # mypy's knowledge of yaml
        'nbclient',  # runs docs/first_student.ipynb in a test
        'ipykernel',
        'transformers>=5',  # tests compare features with it
        'scikit-learn',  # tests compare probes with it
        'playwright',  # tests drive the page of tools/serve.py; needs a Chromium of the system
        *EXPORT,
        *PACKED,
        *SERVE,
    ],
    'docs': DOCS,
    'export': EXPORT,
    'huggingface': ['transformers>=5'],  # of a HuggingFaceTeacher
    'packed': PACKED,
    'serve': SERVE,
    # of tools/train.py --tensorboard, --mlflow, --wandb
    'tensorboard': ['tensorboard'],
    'mlflow': ['mlflow'],
    'wandb': ['wandb'],
}


def read_version() -> str:
    """The version, read as text: importing the package would need what is being installed."""
    text = (ROOT / 'g2sd_mm' / 'version.py').read_text(encoding='utf-8')
    return re.search(r"__version__ = '([^']+)'", text)[1]


setup(
    name='g2sd_mm',
    version=read_version(),
    description='Generic-to-Specific Distillation of masked autoencoders on OpenMMLab 2.x',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    keywords='distillation, masked autoencoder, vision transformer, OpenMMLab',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in (10, 11, 12)),
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    packages=[*find_packages(include=['g2sd_mm*']), *COPIES],
    package_dir=COPIES,
    package_data={
        'g2sd_mm.bench.reports': ['*.j2'],
        'g2sd_mm.bench.own_student': ['*.j2'],
        'g2sd_mm.runs': ['*.html'],
        'g2sd_mm._files.tools': ['*.sh'],
        'g2sd_mm._files.configs.shapes.teachers': ['*.safetensors', '*.json', '*.md'],
        'g2sd_mm._files.docs.images': ['method.svg'],
        'g2sd_mm._files.docs.results': ['published.yaml'],
    },
    entry_points={'console_scripts': ['g2sd = g2sd_mm.__main__:main']},
    # What the pinned libraries were tried with; mmcv calls a pkgutil function that 3.14 dropped.
    python_requires='>=3.10,<3.13',
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
)
