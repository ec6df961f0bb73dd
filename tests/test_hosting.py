"""The files by which others host the project: each fits its published schema, and names only what is there."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCHEMAS = {
    "github-workflows": WORKFLOWS,
    "github-issue-forms": [ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml" for name in ("fault", "wish")],
    "github-issue-config": [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"],
    "citation-file-format": [ROOT / "CITATION.cff"],
}


def steps(workflow):
    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        yield from job["steps"]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_file_fits_its_published_schema(schema):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *SCHEMAS[schema]]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_file_that_does_not_fit_is_seen(tmp_path):
    (tmp_path / "x.yml").write_text("jobs: 1")
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        tmp_path / "x.yml",
    ]
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_every_step_of_a_workflow_is_a_target_of_the_makefile():
    targets = re.search(r"\.PHONY: (.*)", (ROOT / "Makefile").read_text())[1].split()
    made = [m for w in WORKFLOWS for step in steps(w) for m in re.findall(r"\bmake (\w+)", step.get("run", ""))]
    assert set(made) >= {"test", "lint", "docs", "asan", "tsan"}
    assert set(made) <= set(targets)


def test_version_is_the_same_everywhere():
    from unrolled import __version__

    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == PROJECT["version"] == __version__


def test_every_python_of_the_workflows_is_one_that_the_package_supports():
    least = tuple(map(int, PROJECT["requires-python"].removeprefix(">=").split(".")))
    named = re.findall(r'"(3\.\d+)"', "".join(w.read_text() for w in WORKFLOWS))
    assert min(tuple(map(int, each.split("."))) for each in named) == least
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]["build"]
    assert built == f"cp{least[0]}{least[1]}-*"


def test_every_tool_of_a_hook_is_installed_for_development():
    hooks = [
        hook
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repo["hooks"]
    ]
    tools = {Path(hook["entry"].split()[0]).name for hook in hooks}
    named = {re.split("[=>]", each)[0] for each in PROJECT["optional-dependencies"]["dev"]}
    assert tools <= named
