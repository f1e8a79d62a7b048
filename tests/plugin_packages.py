"""Packages with entry points, installed into a folder as pip installs a wheel: modules and a dist-info folder."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path


def install_package(
    folder: Path, name: str, modules: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]]
) -> Path:
    """Install a package into a folder for PYTHONPATH; `entry_points` are by group and name."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(textwrap.dedent(source).lstrip(), encoding="utf-8")
    groups = ("\n".join([f"[{group}]", *(f"{key} = {value}" for key, value in points.items())])
              for group, points in entry_points.items())  # fmt: skip
    (info / "entry_points.txt").write_text("\n\n".join(groups) + "\n", encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "RECORD").write_text("", encoding="utf-8")
    return folder


def run_featurelayer(*arguments: str, packages: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own that sees the installed packages."""
    repository = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), str(repository)])}
    command = [sys.executable, "-m", "featurelayer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
