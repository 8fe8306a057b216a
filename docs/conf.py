"""How Sphinx builds the site. Its sources are written by `colofd.conformance.site`; `make docs` does both."""

from colofd.spec.protocol import spec_sha256

project = "colofd"
copyright = "the authors of colofd, Apache-2.0"  # noqa: A001  # Sphinx's name for it
release = f"specification {spec_sha256()[:12]}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "colofd"
html_show_sphinx = False
html_copy_source = False
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
exclude_patterns = ["conf.py", "extra"]
html_extra_path = ["extra"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
add_module_names = False
