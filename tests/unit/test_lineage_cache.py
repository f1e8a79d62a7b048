"""What is kept of lineage on disk: right when it is there, harmless when stale, damaged or written by two at once."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from featurelayer.lineage import Lineage, SqlModel, analyse, graph
from featurelayer.lineage.queries import Queries

SOURCE = SqlModel(unique_id="s", relation_name="raw.events", columns=(("a", ""), ("k", "")))
STG = SqlModel(
    unique_id="stg", relation_name="db.stg", sql="select a, k from raw.events where a > 1", depends_on=("s",)
)
TOP = SqlModel(
    unique_id="top", relation_name="db.top", sql="select sum(a) as x from db.stg group by k", depends_on=("stg",)
)


def found(cache: Path | None, *models: SqlModel) -> Lineage:
    return analyse(models or (SOURCE, STG, TOP), dialect="duckdb", cache=cache)


def fingerprint(lineage: Lineage) -> str:
    of = lineage.column("top", "x")
    assert of is not None
    return of.fingerprint


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models whose SQL was read."""
    names: list[str] = []

    class Counted(Queries):
        def __init__(self, model: str, *rest: object, **more: object) -> None:
            names.append(model)
            super().__init__(model, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(graph, "Queries", Counted)
    return names


def test_what_is_kept_is_what_was_found(tmp_path: Path, evaluated: list[str]) -> None:
    cache = tmp_path / "sub" / "lineage.bin"
    first = found(cache)
    assert evaluated == ["stg", "top"]
    again = found(cache)
    assert evaluated == ["stg", "top"], "nothing is read twice"
    assert {name: again.columns(name) for name in ("stg", "top")} == {
        name: first.columns(name) for name in ("stg", "top")
    }
    assert list(cache.parent.iterdir()) == [cache]


def test_a_changed_model_and_what_reads_it_are_read_again(tmp_path: Path, evaluated: list[str]) -> None:
    cache = tmp_path / "lineage.bin"
    before = fingerprint(found(cache))
    changed = replace(STG, sql="select a, k from raw.events where a > 2")
    after = fingerprint(found(cache, SOURCE, changed, TOP))
    assert evaluated == ["stg", "top"] * 2
    assert before != after == fingerprint(found(None, SOURCE, changed, TOP))


def test_a_change_of_spelling_above_leaves_those_below_alone(tmp_path: Path, evaluated: list[str]) -> None:
    cache = tmp_path / "lineage.bin"
    found(cache)
    found(cache, SOURCE, replace(STG, sql="with e as (select * from raw.events) select e.a, k from e where 1 < a"), TOP)
    assert evaluated == ["stg", "top", "stg"]


def test_a_type_that_becomes_known_is_heeded(tmp_path: Path, evaluated: list[str]) -> None:
    cache = tmp_path / "lineage.bin"
    found(cache)
    found(cache, replace(SOURCE, columns=(("a", "double"), ("k", ""))), STG, TOP)
    assert evaluated == ["stg", "top"] * 2


@pytest.mark.parametrize("damage", ["empty", "half", "noise", "flipped", "folder"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "lineage.bin"
    right = fingerprint(found(cache))
    data = cache.read_bytes()
    cache.unlink()
    if damage == "folder":
        cache.mkdir()
    else:
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
        cache.write_bytes({"empty": b"", "half": data[:middle], "noise": b"\x00" * 500, "flipped": flipped}[damage])
    assert fingerprint(found(cache)) == right
    assert fingerprint(found(cache)) == right


def test_a_place_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert fingerprint(found(tmp_path / "file" / "lineage.bin")) == fingerprint(found(None))


def _work(place: str, number: int) -> None:
    for _ in range(5):
        changed = replace(STG, sql=f"select a, k from raw.events where a > {number}")
        assert fingerprint(found(Path(place), SOURCE, changed, TOP)) == fingerprint(found(None, SOURCE, changed, TOP))


def test_two_processes_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(str(tmp_path / "lineage.bin"), number)) for number in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["lineage.bin"]
