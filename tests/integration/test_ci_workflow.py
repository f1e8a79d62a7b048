"""The workflow that docs/ci.md offers: its steps are run on the demo project, as GitHub would run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import commands

REPOSITORY = Path(__file__).parents[2]
WORKFLOW = yaml.safe_load((REPOSITORY / "docs" / "ci" / "featurelayer.yml").read_text(encoding="utf-8"))
NOT_RUN = {
    "Install": "it is installed, and a test needs no network",
    "Comment": "there is no pull request to comment on",
}
YOURS = {
    "DBT_PROJECT_DIR": "dbt_project",
    "DBT_PROFILES_DIR": "dbt_project",
    "DBT_TARGET": "dev",
    "BUILD_OPTIONS": "--select plane_facts airport_weather",
    "MONITOR_OPTIONS": "--as-of 2013-12-30T22:00",  # the demo's data end then
}


@pytest.fixture(scope="module")
def repository(demo_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the demo in it, built, on a branch that comes from main."""
    root = tmp_path_factory.mktemp("ci") / "repository"
    left = shutil.ignore_patterns("dbt_packages", "logs", ".featurelayer", ".user.yml")
    shutil.copytree(demo_project.parent, root, symlinks=True, ignore=left)
    (root / ".gitignore").write_text("*.duckdb*\ntarget/\ndbt_packages/\nlogs/\n.featurelayer/\nbuilt\n")
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "The demo"],
        ["update-ref", "refs/remotes/origin/main", "HEAD"],
    ):
        subprocess.run(["git", *arguments], cwd=root, check=True)
    return root


class Job:
    """One run of a job: its steps see each other's outputs and the files that GitHub gives them."""

    def __init__(self, name: str, root: Path, folder: Path) -> None:
        self.job, self.root = WORKFLOW["jobs"][name], root
        self.output, self.summary = folder / "output", folder / "summary"
        for file in (self.output, self.summary):
            file.touch()

    def run(self) -> dict[str, str]:
        """Run the steps that are commands, each under `bash -e`; return what each printed."""
        printed = {}
        for step in self.job["steps"]:
            if "run" in step and step["name"] not in NOT_RUN:
                printed[step["name"]] = self._step(step)
        return printed

    def _step(self, step: dict[str, Any]) -> str:
        declared = {**WORKFLOW["env"], **self.job.get("env", {}), **step.get("env", {})}
        values = {name: self._filled(str(value)) for name, value in declared.items()}
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "FEATURELAYER_"))
        }
        github = {
            "GITHUB_BASE_REF": "main",
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_WORKSPACE": str(self.root),
        }
        path = os.pathsep.join([str(commands.folder()), str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-e", "-c", step["run"]],
            cwd=self.root,
            env={
                **inherited,
                **values,
                **YOURS,
                **github,
                "PATH": path,
                "PYTHONPATH": str(REPOSITORY),
                "NO_COLOR": "1",
            },
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{step['name']}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def _filled(self, text: str) -> str:
        outputs = dict(line.split("=", 1) for line in self.output.read_text().splitlines())
        return re.sub(r"\$\{\{ steps\.diff\.outputs\.(\w+) \}\}", lambda found: outputs[found[1]], text)


@pytest.mark.slow
def test_a_pull_request_is_built_linted_and_compared(repository: Path, tmp_path: Path) -> None:
    job = Job("check", repository, tmp_path)
    printed = job.run()
    assert printed["Lint"] == ""  # the demo has nothing that GitHub would show
    assert (repository / "state" / "manifest.json").is_file()
    assert "No feature changed" in (repository / "diff.md").read_text()
    assert job.summary.read_text() == (repository / "diff.md").read_text()
    assert "code=0" in job.output.read_text().splitlines()


@pytest.mark.slow
def test_the_main_branch_is_monitored_exported_and_verified(repository: Path, tmp_path: Path) -> None:
    printed = Job("deploy", repository, tmp_path).run()
    assert list(printed) == ["Build", "Lint", "Monitor", "Export", "Verify"]
    assert (repository / "monitoring" / "index.html").is_file()
    assert "0 failed" in printed["Monitor"]
    assert "plane_legs" in printed["Export"]
    assert "plane_legs" in printed["Verify"]


def test_what_is_not_run_is_named_and_the_rest_is_a_command_of_ours_or_dbts() -> None:
    for job in WORKFLOW["jobs"].values():
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert "${{" not in step.get("run", ""), "values go through env, where nobody can write commands into them"
    named = {step["name"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step}
    assert set(NOT_RUN) < named
