"""Whoever follows one change through the program opens few files."""

from pathlib import Path

from benchmarks.count_files import apply_of_an_import, sweep_with_one_update


def test_a_sweep_that_makes_one_update_passes_few_files(tmp_path: Path) -> None:
    files = sweep_with_one_update(tmp_path)
    assert len(files) <= 45, sorted(files)


def test_an_import_that_makes_one_user_passes_few_files(tmp_path: Path) -> None:
    files = apply_of_an_import(tmp_path)
    assert len(files) <= 33, sorted(files)
