"""Third-party packages for tests: written, installed into a folder of their own, and used."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

_PIP = (
    "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation",
)  # fmt: skip


def build_plugin(
    folder: Path, name: str, files: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]]
) -> Path:
    """Build a distribution of these modules and entry points by group, and return the folder for PYTHONPATH."""
    source = folder / f"{name}-source"
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
    return pip_install(source, folder / f"{name}-installed")


def pip_install(source: Path, target: Path) -> Path:
    """Have pip build a project and install it into a folder for PYTHONPATH, without a network."""
    command = [sys.executable, *_PIP, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return target


def install_modules(
    folder: Path, name: str, modules: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]]
) -> Path:
    """Write modules and a dist-info folder as a wheel leaves them; return the folder for PYTHONPATH."""
    folder.mkdir(parents=True, exist_ok=True)
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(textwrap.dedent(source).lstrip(), encoding="utf-8")
    groups = ("\n".join([f"[{group}]", *(f"{key} = {value}" for key, value in points.items())])
              for group, points in entry_points.items())  # fmt: skip
    write_facts(folder, name, "\n\n".join(groups) + "\n")
    return folder


def write_facts(folder: Path, name: str, entry_points: str) -> None:
    """Write the dist-info folder of a package in this folder."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "RECORD").write_text("", encoding="utf-8")


def run_python(
    *arguments: str, plugins: Path, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own that sees the plugins."""
    path = os.pathsep.join([str(plugins), str(Path(__file__).parents[1])])
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, text=True, capture_output=True, check=False, timeout=120,
        env={**os.environ, **(environment or {}), "PYTHONPATH": path},
    )  # fmt: skip


def run_featurelayer(*arguments: str, plugins: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own that sees the plugins."""
    return run_python("-m", "featurelayer", *arguments, plugins=plugins, cwd=cwd)
