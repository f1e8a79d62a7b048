"""The catalog: a static site of a project's features, for people who write no code, and for those who do.

`pages.site_files(input, look)` yields every file; `write_site(folder, files)` puts them into place. Templates are in
templates/, our style and scripts in static/, and the libraries that tools/vendor.py renews in static/vendor/.
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
