"""README and docs: their commands are run, what they show is compared, and their tables say what the code says."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pytest
import yaml

from featurelayer import FeatureLayer
from featurelayer.cli import cli
from featurelayer.dbt import contract as metadata
from featurelayer.dbt.schema import json_schema
from tests.docs.pages import REPOSITORY, blocks, run, tables

README = REPOSITORY / "README.md"
DOCS = sorted((REPOSITORY / "docs").glob("*.md"))
PAGES = [README, *DOCS, REPOSITORY / "macros" / "README.md", REPOSITORY / "dbt_project" / "README.md"]
ANNOTATIONS = REPOSITORY / "docs" / "annotations.md"
CONTRACT = REPOSITORY / "docs" / "contract.md"
# Pages whose commands run in the demo, or need a server or a package; their own tests run them.
ELSEWHERE = {"monitoring.md", "postgres.md", "stores.md"}
THIRD_PARTY = "the package is not installed here"
"""Why the command of another package, which docs/commands.md writes, is not run."""
NAME = re.compile(r"`(\w+)`")


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


# --- what the pages run ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The README's own project, made by the README's own steps."""
    return run(README, tmp_path_factory.mktemp("readme"))


@pytest.fixture(scope="module")
def aws() -> Iterator[Mapping[str, str]]:
    """The environment of somebody whose DynamoDB is moto's server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    secrets = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    yield {"DYNAMODB_ENDPOINT": f"http://{host}:{port}", **secrets}
    server.stop()


@pytest.mark.slow
def test_the_ten_minute_path_works_as_written(shop: Path) -> None:
    assert shop.name == "shop"
    assert (shop / "training.lock.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in DOCS if page.name not in ELSEWHERE], ids=name_of)
def test_what_the_docs_run_works_as_written(page: Path, shop: Path, aws: Mapping[str, str], tmp_path: Path) -> None:
    run(page, Path(shutil.copytree(shop, tmp_path / "shop")), aws)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "heading", "mode", "column"),
    [
        (README, "The point-in-time contract", "known_at", "amount"),
        (CONTRACT, "Which row wins", "known_at", "known_at"),
        (CONTRACT, "Which row wins", "event_time", "event_time"),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else value,
)
def test_the_rows_that_the_contract_says_win_do(page: Path, heading: str, mode: str, column: str, shop: Path) -> None:
    rows = next(table for table in tables(page, heading) if "`asked_at`" in table[0])
    labels = pa.table(
        {"customer_id": pa.array([7] * len(rows), pa.int32()), "asked_at": [r["`asked_at`"] for r in rows]}
    )
    times = labels.column("asked_at").cast(pa.timestamp("us"))
    labels = labels.set_column(1, "asked_at", times)
    with FeatureLayer(shop, profiles_dir=shop).build_training_set("reorder", labels, mode=mode) as training_set:
        amounts = training_set.to_arrow().column("customer_orders__amount").to_pylist()
    assert ["" if amount is None else str(amount) for amount in amounts] == [row[column] for row in rows]


PAGE = """
```sh
mkdir inner && cd inner
```

`a.txt`

<!-- file: a.txt -->
```csv
one
two
three
```

<!-- not run: it would fail -->
```sh
exit 1
```

```python
print(open("a.txt").read() + "took 1.5 s")
```

```text
one
...
three
took 0.1 s
```
"""


def test_a_page_is_run_from_top_to_bottom(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    assert run(tmp_path / "page.md", tmp_path) == tmp_path / "inner"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("...\nthree\n", "three\n"), ("took 0.1 s", "took 1 s"), ("<!-- not run: it would fail -->\n", "")],
)
def test_a_page_that_is_wrong_fails(right: str, wrong: str, tmp_path: Path) -> None:
    assert right in PAGE
    (tmp_path / "page.md").write_text(PAGE.replace(right, wrong))
    with pytest.raises(AssertionError, match=r"page\.md, line \d+"):
        run(tmp_path / "page.md", tmp_path)


def test_no_command_or_snippet_is_left_out_without_a_reason() -> None:
    skipped = {block.value for page in [README, *DOCS] for block in blocks(page) if block.order == "not run"}
    reasons = {"takes minutes and 3 GB", "takes a minute", "takes minutes, and needs the repository"}
    reasons |= {"the demo has tests of its own", "installs packages", "needs the repository", "shows a line of a log"}
    reasons |= {"a module of your package", "it shows an error of another project", THIRD_PARTY}
    assert skipped <= reasons


# --- what the tables say ---------------------------------------------------------------------------------------------


def keys_of(page: Path, heading: str) -> list[str]:
    """Return the keys in the first column of the first table under a heading."""
    return [name for row in next(tables(page, heading)) for name in NAME.findall(row["key"])]


def schema_keys(block: str) -> set[str]:
    return set(json_schema()["$defs"][block]["properties"])


@pytest.mark.parametrize(
    ("heading", "block"), [("View", "ViewBlock"), ("Column", "ColumnBlock"), ("Service", "ServiceBlock")]
)
def test_the_reference_has_exactly_the_keys_of_the_schema(heading: str, block: str) -> None:
    found = keys_of(ANNOTATIONS, heading)
    assert set(found) == schema_keys(block)
    assert len(set(found)) == len(found)


def test_the_reference_has_the_defaults_of_the_contract() -> None:
    for heading, block in (("View", metadata.ViewBlock), ("Column", metadata.ColumnBlock)):
        for row in next(tables(ANNOTATIONS, heading)):
            (key,) = NAME.findall(row["key"])
            default = block.model_fields[key].default
            said = row["default"].strip("`")
            if isinstance(default, bool):
                assert said == str(default).lower(), key
            elif isinstance(default, str):
                assert said == (default or "empty"), key
            elif isinstance(default, metadata.RemovalGuardBlock):
                assert yaml.safe_load(said) == default.model_dump()
            else:
                assert said in ("none", "required", "the event time"), key


def test_the_inner_blocks_are_described() -> None:
    lines, config, entity = (
        next(table for table in tables(ANNOTATIONS, heading) if "`" + first + "`" in table[0]["key"])
        for heading, first in (("Service", "view"), ("featurelayer.yml", "entities"), ("featurelayer.yml", "keys"))
    )
    for table, block in ((lines, metadata.ServiceLine), (config, metadata.ConfigBlock), (entity, metadata.EntityBlock)):
        known = {name for name, field in block.model_fields.items() if not field.exclude}
        assert {name for row in table for name in NAME.findall(row["key"])} == known


def test_the_readme_has_exactly_the_keys_of_the_schema() -> None:
    view, column, service, config = tables(README, "Annotations")
    for table, known in (
        (view, schema_keys("ViewBlock")),
        (column, schema_keys("ColumnBlock")),
        (service, schema_keys("ServiceBlock")),
        (config, set(metadata.ConfigBlock.model_fields)),
    ):
        assert sorted(name for row in table for name in NAME.findall(row["key"])) == sorted(known)


@pytest.mark.parametrize("page", [README, *DOCS], ids=name_of)
def test_yaml_on_the_pages_follows_the_contract(page: Path) -> None:
    for block in blocks(page):
        if block.language != "yaml":
            continue
        document = yaml.safe_load(block.text)
        for contract, annotation in annotations(document):
            contract.model_validate(annotation)


def annotations(document: dict[str, Any]) -> Iterator[tuple[type[metadata.Block], Any]]:
    """Yield every block of ours in a properties file or featurelayer.yml, with its contract."""
    if {"entities", "online_store", "prices", "monitors"} & document.keys():
        yield metadata.ConfigBlock, document
    for kind, contract in (("models", metadata.ViewBlock), ("exposures", metadata.ServiceBlock)):
        listed = document.get(kind, [])
        for node in listed if isinstance(listed, list) else []:
            yield contract, node["config"]["meta"]["featurelayer"]
            for column in node.get("columns", []):
                if "config" in column:
                    yield metadata.ColumnBlock, column["config"]["meta"]["featurelayer"]


# --- what the pages name ---------------------------------------------------------------------------------------------


def commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def test_every_command_is_on_a_page_and_no_other_is() -> None:
    pages = [README, *DOCS]
    inline = [
        code for page in pages for code in re.findall(r"`(featurelayer [^`]+)`", page.read_text(encoding="utf-8"))
    ]
    shown = (block for page in pages for block in blocks(page) if block.language == "sh")
    run_or_shown = [block.text for block in shown if block.value != THIRD_PARTY]
    code = "\n".join([*inline, *run_or_shown]).replace(" && ", "\n")
    assert set(re.findall(r"^featurelayer ([a-z][a-z-]+)", code, flags=re.MULTILINE)) == set(commands())


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_and_option_has_a_help_text(name: str) -> None:
    command = commands()[name]
    assert command.help
    assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
