# SPDX-License-Identifier: GPL-2.0-only
#
# How Sphinx makes HTML of the documents; "make docs" calls it. In a kernel tree,
# the kernel's own conf.py is in charge.
import os

project = "mdev"
copyright = "2026, mdev maintainers. GPL-2.0-only"
html_title = "Mediated devices"

# the kernel's: its kernel-doc, ABI documents, and links from plain text
extensions = ["kerneldoc", "kernel_abi", "automarkup"]
kerneldoc_srctree = os.path.abspath(os.environ["srctree"])
kerneldoc_bin = kerneldoc_srctree + "/scripts/kernel-doc"

# pictures are written for the kernel, where figures have a directive of their own
def setup(app):
    from docutils.parsers.rst.directives.images import Figure

    app.add_directive("kernel-figure", Figure)


# names of the kernel's that are explained elsewhere
nitpick_ignore = [
    ("std:ref", "abi_file_testing_sysfs_devices_vfio_dev"),
    # vendors need not know what is in it
    ("c:identifier", "mdev_dirty"),
]
nitpick_ignore_regex = [("c:.*", r"(?!mdev_).*")]
c_id_attributes = ["__user"]
primary_domain = "c"
highlight_language = "none"
keep_warnings = True

html_theme = "sphinx_rtd_theme"
html_theme_options = {"navigation_depth": 2}
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_copy_source = False
html_show_sphinx = False
