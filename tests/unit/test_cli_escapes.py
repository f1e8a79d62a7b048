"""Whatever a command prints, stored or user-supplied, no control character of it reaches a terminal."""

import ast
import io
import json
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from featurelayer.cli import main
from featurelayer.cli.console import Console
from featurelayer.cli.progress import show_items, show_steps
from featurelayer.layer import FeatureLayer
from featurelayer.terminal_text import printable
from tests.unit import dbt_projects as made
from tests.unit.warehouses import layer

pytestmark = pytest.mark.slow

CLI = Path(__file__).parents[2] / "featurelayer" / "cli"
EVIL = "x\x1b]0;x\x07\x1b[2J\x9b2J\u202e\u2066\r\x08"
FORBIDDEN = ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e", "\u2066", "\x08")
LABELS = "tailnum,at\nN1,2024-01-01T13:00:00\n"


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A project with hostile descriptions, owners, values and keys, exported to its SQLite file."""
    root = tmp_path_factory.mktemp("hostile")
    legs = made.model(online=True, columns={"note": made.column("varchar")}, node={"description": EVIL, "tags": [EVIL]})
    legs["columns"]["note"]["description"] = EVIL
    bad = "x' || chr(27) || ']0;x' || chr(7) || chr(27) || '[2J' || chr(155) || chr(8238) || '"
    sql = f"""
    CREATE TABLE legs AS SELECT * FROM (VALUES
      ('N1', TIMESTAMP '2024-01-01 10:00', 5.0::DOUBLE, '{bad}'),
      ('{bad}', TIMESTAMP '2024-01-01 12:00', NULL, '{bad}')
    ) t(tailnum, landed_at, arr_delay, note)
    """
    exposure = made.exposure("legs.arr_delay", "legs.note", label_timestamp="at", node={"description": EVIL})
    layer(root, legs, exposures=(exposure,), sql=sql)
    with (root / "featurelayer.yml").open("a") as config:
        config.write("online_store: {dev: {type: sqlite, path: .featurelayer/online.db}}\n")
    (root / "labels.csv").write_text(LABELS)
    FeatureLayer(root, profiles_dir=root).export()
    return root


@pytest.fixture
def found(exported, tmp_path) -> Path:
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return tmp_path


def run(root: Path, monkeypatch, *arguments: str, terminal: bool) -> tuple[str, str]:
    out, err = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.chdir(root)
        main([arguments[0], *arguments[1:], "--project-dir", str(root), "--profiles-dir", str(root)])
    for text in (out.getvalue(), err.getvalue()):
        for mark in FORBIDDEN:
            assert mark not in text, (arguments, mark, text)
    return out.getvalue(), err.getvalue()


COMMANDS = [
    ("list", "views"), ("list", "features"), ("list", "services"), ("list", EVIL),
    ("show", "legs"), ("show", "legs.note"), ("show", "late"), ("show", EVIL), ("show", "legs", "--format", "json"),
    ("lookup", "--service", "late", "--key", "tailnum=N1"),
    ("lookup", "--service", "late", "--key", "tailnum=N1", "--format", "json"),
    ("lookup", "--service", EVIL, "--key", "tailnum=N1"), ("lookup", "--service", "late", "--key", f"{EVIL}=1"),
    ("lookup", "--service", "late", "--key", EVIL),
    ("lookup", "--service", "late", "--key", "tailnum=N1", "--now", EVIL), ("verify",),
    ("verify", "--format", "json"), ("online", "status"), ("online", "forget", "--key", f"tailnum={EVIL}"),
    ("online", "forget", "--key", f"{EVIL}=1"), ("online", EVIL), ("export", "--plan"), ("export", "-s", EVIL),
    ("rollback", "legs", "--to", EVIL), ("lint",), ("lint", "--format", "json"), ("lint", "--explain", EVIL),
    ("monitor",), ("monitor", "--format", "json"), (EVIL,), ("diff", "--state", EVIL), ("reproduce", EVIL),
    ("build-training-set", "--service", "late", "--labels", "labels.csv", "--show-sql"),
    ("build-training-set", "--service", "late", "--labels", EVIL, "--output", "x.csv"),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: printable(" ".join(command)))
def test_commands_print_no_control_characters(command, found, monkeypatch):
    for terminal in (False, True):
        for log_format in ((), ("--log-format", "json")):
            out, _ = run(found, monkeypatch, *command[:1], *log_format, *command[1:], terminal=terminal)
            if "json" in command and out:
                json.loads(out)


def test_a_lookup_of_a_hostile_value_shows_it_escaped_and_json_keeps_it(found, monkeypatch):
    out, _ = run(found, monkeypatch, "lookup", "--service", "late", "--key", "tailnum=N1", terminal=True)
    assert "\\u001b]0;x\\u0007\\u001b[2J\\u009b\\u202e" in out.replace("\n", "").replace(" ", "")
    out, _ = run(
        found, monkeypatch, "lookup", "--service", "late", "--key", "tailnum=N1", "--format", "json", terminal=True
    )
    assert json.loads(out)["legs__note"]["value"] == "x\x1b]0;x\x07\x1b[2J\x9b\u202e"


def test_verify_and_errors_escape_what_the_store_holds(found, monkeypatch):
    path = found / ".featurelayer" / "online.db"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE items SET s = ? WHERE sk = 'legs@0'", (EVIL,))
        connection.execute("INSERT INTO items SELECT pk, ?, f, v, t, e, u, s, ttl, d, w FROM items "
                           "WHERE sk = 'legs@0#commit'", (f"{EVIL}#commit",))  # fmt: skip
    connection.close()
    out, _ = run(found, monkeypatch, "verify", terminal=False)
    assert "\\u001b]0;x\\u0007" in out
    _, err = run(found, monkeypatch, "lookup", "--service", "late", "--key", "tailnum=N1", terminal=True)
    assert "\\u001b]0;x\\u0007" in err
    out, _ = run(found, monkeypatch, "online", "status", terminal=False)
    assert "\\u001b]0;x\\u0007" in out


def test_progress_labels_are_escaped_and_are_no_markup(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with show_steps(Console()) as tell:
        tell(f"[bold]{EVIL}", 0, 1)
    with show_items(Console()) as tell:
        tell(f"[bold]{EVIL}", 1, 1)
    shown = terminal.getvalue()
    assert "[bold]x\\u001b]0;x\\u0007" in shown
    assert not any(mark in shown for mark in FORBIDDEN)


def test_only_one_place_writes():
    allowed = {"output.py", "console.py"}
    for path in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and path.name not in allowed:
                called = ast.unparse(node.func)
                assert called not in ("click.echo", "click.secho", "print", "sys.stdout.write", "sys.stderr.write"), (
                    path
                )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nÅ 名前 👩‍💻", "plain\ttext\nÅ 名前 👩‍💻"),
        ("\x00\x7f\x85\u2028\u200f\ud800", "\\u0000\\u007f\\u0085\\u2028\\u200f\\ud800"),
    ],
)
def test_what_is_escaped(text, shown):
    assert printable(text) == shown
