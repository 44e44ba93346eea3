"""What the cache forgets: only what is old, and never what was used last."""

from __future__ import annotations

import os
import time
from pathlib import Path

import prune

HOUR = 3600


def made(folder: Path, name: str, hours_ago: float) -> Path:
    place = folder / name
    (place / "inside").mkdir(parents=True)
    then = time.time() - hours_ago * HOUR
    os.utime(place, (then, then))
    return place


def test_the_last_used_are_kept_however_old(tmp_path: Path) -> None:
    trees = [made(tmp_path, f"tree{hours}", hours) for hours in (100, 200, 300, 400, 500, 600)]
    prune.prune(tmp_path)
    assert [place.exists() for place in trees] == [True] * 4 + [False] * 2


def test_what_was_used_within_a_day_is_kept(tmp_path: Path) -> None:
    trees = [made(tmp_path, f"tree{hours}", hours) for hours in range(20)]
    prune.prune(tmp_path)
    assert all(place.exists() for place in trees)


def test_using_a_tree_keeps_it(tmp_path: Path) -> None:
    trees = [made(tmp_path, f"tree{hours}", hours) for hours in (100, 200, 300, 400, 500)]
    prune.used(trees[4])
    prune.prune(tmp_path)
    assert trees[4].exists()


def test_what_belongs_to_a_tree_goes_and_stays_with_it(tmp_path: Path) -> None:
    kept = [made(tmp_path, f"tree{hours}", hours) for hours in (1, 2, 3, 4)]
    home = made(tmp_path, "tree1.home", 900)
    gone = made(tmp_path, "old", 900)
    gone_home = made(tmp_path, "old.home", 900)
    killed = made(tmp_path, "tree2.1234.part", 900)
    running = made(tmp_path, "tree9.77.part", 1)
    prune.prune(tmp_path)
    assert all(place.exists() for place in [*kept, home, running])
    assert not any(place.exists() for place in [gone, gone_home, killed])


def test_files_links_and_missing_folders_are_left_alone(tmp_path: Path) -> None:
    prune.prune(tmp_path / "missing")
    target = made(tmp_path, "elsewhere/target", 900)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").touch()
    (folder / "link").symlink_to(target)
    assert prune.idle(folder, kept=0, seconds=-1) == []


def test_siblings_of_the_one_in_use(tmp_path: Path) -> None:
    old, newer, current = (made(tmp_path, name, hours) for name, hours in (("a", 3), ("b", 2), ("c", 0.001)))
    assert prune.idle(tmp_path, kept=2, seconds=0) == [old]
    assert newer.exists() and current.exists()
