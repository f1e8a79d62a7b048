"""Third-party packages for tests: written, built and installed into a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path


def install_plugin(
    folder: Path, name: str, files: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]]
) -> Path:
    """Build a distribution of these modules and entry points by group, install it and return the folder for PYTHONPATH.

    pip builds and installs it as it would any package, without a network.
    """
    source, target = folder / f"{name}-source", folder / f"{name}-installed"
    package = source / name.replace("-", "_")
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for file, text in files.items():
        (package / file).write_text(textwrap.dedent(text))
    points = "".join(
        f'[project.entry-points."{group}"]\n' + "".join(f'{key} = "{value}"\n' for key, value in listed.items())
        for group, listed in entry_points.items()
    )
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n{points}'
    )
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
               "--disable-pip-version-check", "--target", str(target), str(source)]  # fmt: skip
    subprocess.run(command, check=True, timeout=300)
    return target


def run_featurelayer(*arguments: str, plugins: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own that sees the plugins."""
    repository = str(Path(__file__).parents[1])
    path = os.pathsep.join([str(plugins), repository])
    return subprocess.run([sys.executable, "-m", "featurelayer", *arguments], cwd=cwd, text=True, timeout=120,
                          capture_output=True, env={**os.environ, "PYTHONPATH": path}, check=False)  # fmt: skip
