"""How the site is built: make docs. What the examples found is kept (make keep), not run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
import gallery

gallery.write()

project = "tinyddpm"
copyright = "the authors of tinyddpm"
html_title = "tinyddpm"
extensions = [
    "sphinx.ext.autodoc",  # the API pages, from the docstrings
    "sphinx.ext.napoleon",  # their sections: Args, Returns, Raises
    "sphinx.ext.viewcode",  # each function with its source
    "myst_parser",  # pages in Markdown
    *("docstrings", "formulas", "markdown"),  # ours, in _ext
]
exclude_patterns = ["_build"]
nitpicky = True
# Types and errors in signatures are not links that somebody wrote. Most are not ours, and the site
# builds without the internet, so there is no inventory to look them up in.
nitpick_ignore_regex = [("py:(class|exc|data)", ".*"), ("py:obj", r"typing\..*")]

# Each thing is described where it is defined. To follow Dataset.origin to the class of its value
# would make links that lead nowhere.
viewcode_follow_imported_members = False
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "ignore-module-all": True,  # each thing where it is defined, and there alone
}
autodoc_typehints_format = "short"
# What the interactive page imports. The reference needs no more than the names.
autodoc_mock_imports = ["nicegui", "uvicorn", "starlette", "fastapi"]
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"

napoleon_numpy_docstring = False
napoleon_use_param = False  # "x0, eps: noisy images" is one entry
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style"), ("Raises", "params_style")]

myst_enable_extensions = ["attrs_block"]  # a class for a table

highlight_language = "none"  # a block that does not say what it is, is mostly commands

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
pygments_style = "default"
pygments_dark_style = "monokai"
