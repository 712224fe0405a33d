"""The documentation site: ``make docs`` writes it to ``site/``, without a network.

The API pages are read from the source (sphinx-autoapi) and nothing is imported, so that building
needs no torch.
"""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / '_ext'))

project = 'g2sd_mm'
author = 'The g2sd_mm authors'
copyright = '2026, the g2sd_mm authors'
extensions = [
    'mathml',
    'myst_nb',  # Markdown pages and notebooks
    'autoapi.extension',
    'sphinx.ext.napoleon',  # "Args:" in docstrings
    'sphinx_copybutton',
    'sphinx_design',  # tabs
]
exclude_patterns = ['_ext', '_build']
# two modules may have a type of the same name; constants that are assigned together are not found
suppress_warnings = ['ref.python', 'autoapi.python_import_resolution']

# Pages -------------------------------------------------------------------------------------------
myst_enable_extensions = ['dollarmath', 'colon_fence']
myst_heading_anchors = 3
nb_execution_mode = 'off'  # tests/test_docs/test_notebook.py runs it
copybutton_exclude = '.linenos, .gp, .go'

# API ---------------------------------------------------------------------------------------------
autoapi_dirs = [str(DOCS.parent / 'g2sd_mm')]
autoapi_root = 'api'
autoapi_options = ['members', 'show-inheritance', 'show-module-summary']
autoapi_member_order = 'groupwise'
autoapi_python_class_content = 'both'
autoapi_own_page_level = 'module'
autoapi_add_toctree_entry = False
autoapi_keep_files = False
napoleon_use_ivar = True

# Look --------------------------------------------------------------------------------------------
html_theme = 'furo'
html_theme_options = {'light_css_variables': {'code-font-size': '75%'}}  # 100 columns fit
html_title = 'g2sd_mm'
html_math_renderer = 'mathml'
html_copy_source = False


def _outside(app: Sphinx, name: str, source: list[str]) -> None:
    """A page outside of docs/ is a file to read, and no page of the site."""
    outside = r'\[([^\]]+)\]\(((?:\.\./)+configs/[^)]*\.md)\)'
    source[0] = re.sub(outside, r'{download}`\1 <\2>`', source[0])


def setup(app: Sphinx) -> None:
    app.connect('source-read', _outside)
