"""The catalog: a static site of a project's features.

`pages.site_files(input, options)` yields every file; `write_site(folder, files)` writes them. Templates are in
templates/, styles and scripts in static/, third-party scripts (updated by tools/vendor.py) in static/vendor/.
"""

from featurelayer.catalog.values import (
    CatalogInput,
    ExportRun,
    FeatureChange,
    FeatureLineage,
    Origin,
    SimilarFeature,
    SiteOptions,
)
from featurelayer.catalog.writer import BuiltSite, check_folder, read_logo, write_site

__all__ = [
    "BuiltSite",
    "CatalogInput",
    "ExportRun",
    "FeatureChange",
    "FeatureLineage",
    "Origin",
    "SimilarFeature",
    "SiteOptions",
    "check_folder",
    "read_logo",
    "write_site",
]
