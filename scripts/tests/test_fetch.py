"""Fetching against a server on this machine: what is locked comes, or the message says all there is to say."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import fetch
import mirrors
from errors import Failure
from lockfile import Lock, Package

RESOLVED = "20260101T000000Z"
GOOD = b"the locked bytes"


class Server:
    """Answers by path: bytes, a status, or a list of these, one for each request."""

    def __init__(self) -> None:
        self.answers: dict[str, object] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                answer = outer.answers.get(self.path, 404)
                if isinstance(answer, list):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                if callable(answer):
                    answer(self)
                elif isinstance(answer, bytes):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                else:
                    assert isinstance(answer, int)
                    self.send_error(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    served = Server()
    monkeypatch.setenv("MIRROR", f"{served.url}/debian")
    monkeypatch.setenv("SNAPSHOT", f"{served.url}/snapshot")
    monkeypatch.setattr(fetch.time, "sleep", lambda _: None)
    yield served
    served.http.shutdown()
    served.http.server_close()


def package(name: str = "hello", content: bytes = GOOD, suite: str = "trixie") -> Package:
    digest = hashlib.sha256(content).hexdigest()
    return Package(name, "2.10-3", "amd64", digest, len(content), f"pool/main/{name}.deb", suite, ("base",))


def bring(cache: Path, *packages: Package) -> None:
    fetch.fetch(Lock(RESOLVED, {}, packages), packages, cache)


def refused(cache: Path, *packages: Package) -> str:
    with pytest.raises(Failure) as failure:
        bring(cache, *packages)
    # Nothing is in the cache, under no name, that could be taken for the package later.
    assert [file for file in cache.rglob("*") if file.is_file()] == []
    return str(failure.value)


def mirror_path(package: Package) -> str:
    return f"/debian/{package.path}"


def snapshot_path(package: Package) -> str:
    return f"/snapshot/debian/{RESOLVED}/{package.path}"


def test_packages_come_from_the_mirror(server: Server, tmp_path: Path) -> None:
    hello, world = package(), package("world", b"other bytes")
    server.answers = {mirror_path(hello): GOOD, mirror_path(world): b"other bytes"}
    bring(tmp_path, hello, world)
    assert fetch.blob(tmp_path, hello.sha256).read_bytes() == GOOD
    assert fetch.blob(tmp_path, world.sha256).read_bytes() == b"other bytes"
    assert sorted(server.asked) == [mirror_path(hello), mirror_path(world)]


def test_what_is_cached_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    fetch.store(tmp_path, package().sha256, GOOD)
    bring(tmp_path, package())
    assert server.asked == []


@pytest.mark.parametrize("damaged", [b"", b"other bytes here", GOOD[:-1], GOOD + b"x"])
def test_a_damaged_cache_entry_is_fetched_again(server: Server, tmp_path: Path, damaged: bytes) -> None:
    hello = package()
    fetch.store(tmp_path, hello.sha256, GOOD).write_bytes(damaged)
    server.answers = {mirror_path(hello): GOOD}
    bring(tmp_path, hello)
    assert fetch.blob(tmp_path, hello.sha256).read_bytes() == GOOD
    assert server.asked == [mirror_path(hello)]


def test_wrong_bytes_of_the_mirror_are_made_good_by_the_snapshot(server: Server, tmp_path: Path) -> None:
    hello = package()
    server.answers = {mirror_path(hello): b"WRONG locked byt", snapshot_path(hello): GOOD}
    bring(tmp_path, hello)
    assert fetch.blob(tmp_path, hello.sha256).read_bytes() == GOOD
    assert server.asked == [mirror_path(hello), snapshot_path(hello)]


def test_what_the_mirror_dropped_comes_from_the_snapshot(server: Server, tmp_path: Path) -> None:
    hello = package()
    server.answers = {snapshot_path(hello): GOOD}
    bring(tmp_path, hello)
    assert fetch.is_intact(fetch.blob(tmp_path, hello.sha256), hello.sha256)


def test_a_security_update_that_moved_comes_from_the_main_archive(server: Server, tmp_path: Path) -> None:
    content = hashlib.sha256(GOOD).hexdigest()
    fixed = Package("fixed", "1", "amd64", content, len(GOOD), "pool/updates/main/f.deb", "trixie-security", ("base",))
    server.answers = {"/debian/pool/main/f.deb": GOOD}
    bring(tmp_path, fixed)
    assert server.asked == ["/debian-security/pool/updates/main/f.deb", "/debian/pool/main/f.deb"]


def test_a_package_to_be_had_nowhere_is_named_with_all_that_was_tried(server: Server, tmp_path: Path) -> None:
    hello = package()
    server.answers = {mirror_path(hello): b"WRONG locked byt"}
    said = refused(tmp_path, hello)
    assert "hello 2.10-3 (amd64)" in said
    assert f"{server.url}{mirror_path(hello)}: has sha256 {hashlib.sha256(b'WRONG locked byt').hexdigest()}" in said
    assert f"locked is {hello.sha256}" in said
    assert f"{server.url}{snapshot_path(hello)}: 404" in said
    assert "make lock" in said and "make pool-import" in said and RESOLVED in said


def test_every_missing_package_is_named_and_the_others_are_kept(server: Server, tmp_path: Path) -> None:
    there, gone, lost = package("there"), package("gone", b"1"), package("lost", b"2")
    server.answers = {mirror_path(there): GOOD}
    with pytest.raises(Failure) as failure:
        bring(tmp_path, there, gone, lost)
    said = str(failure.value)
    assert "gone 2.10-3" in said and "lost 2.10-3" in said and "there 2.10-3" not in said
    assert fetch.is_intact(fetch.blob(tmp_path, there.sha256), there.sha256)
    assert len([file for file in tmp_path.rglob("*") if file.is_file()]) == 1


def test_an_answer_longer_than_locked_is_refused(server: Server, tmp_path: Path) -> None:
    hello = package()
    server.answers = {mirror_path(hello): GOOD + b"x" * 100_000, snapshot_path(hello): GOOD + b"\n"}
    said = refused(tmp_path, hello)
    assert said.count("has sha256") == 2
    # Read no further than needed to know: the hash named is that of one byte more than locked.
    assert hashlib.sha256(GOOD + b"x").hexdigest() in said


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_error_is_tried_again(server: Server, tmp_path: Path, status: int) -> None:
    hello = package()
    server.answers = {mirror_path(hello): [status, status, GOOD]}
    bring(tmp_path, hello)
    assert server.asked == [mirror_path(hello)] * 3


def test_a_file_that_is_not_there_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    refused(tmp_path, package())
    next_day = snapshot_path(package()).replace(RESOLVED, "20260102T000000Z")
    assert server.asked == [mirror_path(package()), snapshot_path(package()), next_day]


def cut_short(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(GOOD)))
    handler.end_headers()
    handler.wfile.write(GOOD[:5])
    handler.close_connection = True


def cut_short_in_a_chunk(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"10\r\n" + GOOD[:5])
    handler.close_connection = True


def not_http(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-x\r\n\r\n")
    handler.close_connection = True


@pytest.mark.parametrize("broken", [cut_short, cut_short_in_a_chunk, not_http])
def test_a_broken_answer_is_tried_again(server: Server, tmp_path: Path, broken: object) -> None:
    hello = package()
    server.answers = {mirror_path(hello): [broken, GOOD]}
    bring(tmp_path, hello)
    assert server.asked == [mirror_path(hello)] * 2
    assert fetch.blob(tmp_path, hello.sha256).read_bytes() == GOOD


@pytest.mark.parametrize("broken", [cut_short, cut_short_in_a_chunk, not_http])
def test_an_answer_that_stays_broken_is_refused(server: Server, tmp_path: Path, broken: object) -> None:
    hello = package()
    server.answers = {mirror_path(hello): broken}
    assert f"{server.url}{mirror_path(hello)}: " in refused(tmp_path, hello)


def test_a_mirror_that_does_not_answer_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRROR", "http://127.0.0.1:9/debian")
    assert "http://127.0.0.1:9/debian/pool/main/hello.deb: " in refused(tmp_path, package())


def test_without_any_source_the_message_says_how_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "candidates", lambda *_: [])
    assert "MIRROR=" in refused(tmp_path, package())


def test_the_cache_takes_nothing_under_a_digest_it_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has sha256"):
        fetch.store(tmp_path, "0" * 64, GOOD)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as out:
            out.write(content[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        fetch.store(tmp_path, package().sha256, GOOD)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_the_faster_of_two_processes_keeps_its_directory(tmp_path: Path) -> None:
    for name in ("place", "staged"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "by").write_text(name)
    fetch.settle(tmp_path / "staged", tmp_path / "place")
    assert (tmp_path / "place/by").read_text() == "place"
    assert not (tmp_path / "staged").exists()


def test_a_finished_directory_is_put_in_place(tmp_path: Path) -> None:
    (tmp_path / "staged").mkdir()
    fetch.settle(tmp_path / "staged", tmp_path / "place")
    assert (tmp_path / "place").is_dir()
