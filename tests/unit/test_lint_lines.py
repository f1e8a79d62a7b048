"""Lines of models, columns and keys are those that a YAML parser says, in every layout that people write."""

import textwrap
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.dbt.yaml_lines import Lines
from tests.profiles import examples

FILE = """\
# a comment: with a colon
version: 2
models:
  - name: "legs"   # quoted
    description: >
      Some text:
        - name: not_a_model
    config:
      event_time: at
      meta:
        featurelayer:
          entity: plane
          ignore:
          - {code: FL203, reason: one}
          - code: FL204
            reason: two
    columns:
    - name: tailnum
      config: {meta: {featurelayer: {join_key: plane}}}

    - description: the name comes second
      name: arr_delay
      config:
        meta: {featurelayer: {unit: "{{ var('unit') }}"}}
  - name: other
    columns:
      - {name: inline, data_type: double}
snapshots:
  - name: history
exposures:
-   name: late
    config: {meta: {featurelayer: {features: [legs.arr_delay]}}}
"""


@pytest.mark.parametrize(
    ("resource", "key", "line"),
    [
        ("legs", "", "name: \"legs\""),
        ("legs.v2", "", "name: \"legs\""),
        ("legs", "config.event_time", "event_time: at"),
        ("legs", "config.meta.featurelayer.ignore[0].reason", "- {code: FL203"),
        ("legs", "config.meta.featurelayer.ignore[1].reason", "reason: two"),
        ("legs", "columns[tailnum].config.meta.featurelayer.join_key", "config: {meta: {featurelayer: {join_key"),
        ("legs", "columns[arr_delay]", "description: the name comes second"),
        ("legs", "columns[arr_delay].config.meta.featurelayer.unit", "meta: {featurelayer: {unit"),
        ("legs", "config.meta.featurelayer.ttl", "featurelayer:"),
        ("legs", "description", "description: >"),
        ("other", "columns[inline].data_type", "{name: inline"),
        ("history", "", "name: history"),
        ("late", "config.meta.featurelayer.features[0]", "config: {meta: {featurelayer: {features"),
    ],
)  # fmt: skip
def test_the_line_of_a_key_or_of_what_is_nearest_to_it(resource, key, line, tmp_path):
    (tmp_path / "x.yml").write_text(FILE)
    found = Lines(tmp_path).find("x.yml", resource, key)
    assert line in FILE.splitlines()[found - 1]


@pytest.mark.parametrize(
    ("file", "resource"), [("x.yml", "not_a_model"), ("x.yml", "nothing"), ("y.yml", "legs"), ("x.sql", "legs"),
                           ("../x.yml", "legs"), ("", "legs")]
)  # fmt: skip
def test_what_is_not_there_has_no_line(file, resource, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.yml").write_text(FILE)
    (tmp_path / "x.yml").write_text(FILE)
    assert Lines(tmp_path / "in").find(file, resource, "") == 0


NAMES = st.text("abcdefgh_ :#'-.", min_size=1, max_size=12).filter(lambda text: text.strip(" .") == text)
VALUES = st.recursive(
    st.none() | st.integers() | st.text("abc :#{}[]'\"\n-", max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=examples(100))
@given(models=st.lists(st.dictionaries(NAMES.filter(lambda key: key != "name"), VALUES, max_size=4), max_size=4),
       indent=st.sampled_from([2, 4]), flow=st.booleans())  # fmt: skip
def test_each_model_has_the_line_that_a_yaml_parser_says(models, indent, flow, tmp_path_factory):
    listed = [{"name": f"model_{number}", **rest} for number, rest in enumerate(models)]
    text = yaml.safe_dump(
        {"models": listed}, indent=indent, sort_keys=False, default_flow_style=None if flow else False
    )
    root = tmp_path_factory.mktemp("yaml")
    Path(root, "x.yml").write_text(text)
    tree = yaml.compose(text)
    wanted = [item.start_mark.line + 1 for item in tree.value[0][1].value]
    assert [Lines(root).find("x.yml", item["name"], "") for item in listed] == wanted, textwrap.indent(text, "  ")
