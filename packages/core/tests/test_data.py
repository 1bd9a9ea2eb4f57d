"""Finding data sets: the configured folder, its checksum, and a download that is kept."""

import contextlib
import socket
import threading
from pathlib import Path

import pytest

from septet.data import Source, data_dir, locate
from septet.errors import DataUnavailable, InputError
from septet.files import sha256


@pytest.fixture
def source(tmp_path):
    original = tmp_path / "public/table.csv"
    original.parent.mkdir()
    original.write_text("a\n1\n")
    digest = sha256(original)
    return Source(name="toy", file="toy/table.csv", sha256=digest, url=original.as_uri(), url_sha256=digest)


def test_the_configured_folder_comes_before_the_environment(monkeypatch):
    monkeypatch.setenv("SEPTET_DATA", "/environment")
    assert data_dir("/configured") == Path("/configured")
    assert data_dir(None) == data_dir("") == Path("/environment")
    monkeypatch.setenv("SEPTET_DATA", "")
    assert data_dir(None) is None
    monkeypatch.delenv("SEPTET_DATA")
    assert data_dir(None) is None


def test_a_file_of_the_folder_is_taken_where_it_lies(source, tmp_path):
    file = tmp_path / "data/toy/table.csv"
    file.parent.mkdir(parents=True)
    file.write_text("a\n1\n")
    assert locate(source, tmp_path / "data", tmp_path / "downloads") == file
    assert not (tmp_path / "downloads").exists()


@pytest.mark.parametrize(("content", "said"), [(None, "toy/table.csv, found no such file"), ("a\n", "SHA-256")])
def test_a_folder_without_the_right_file_is_refused_and_nothing_is_downloaded(content, said, source, tmp_path):
    file = tmp_path / "data/toy/table.csv"
    file.parent.mkdir(parents=True)
    if content:
        file.write_text(content)
    with pytest.raises(InputError, match=said) as error:
        locate(source, tmp_path / "data", tmp_path / "downloads")
    assert not isinstance(error.value, DataUnavailable)  # a stand-in must not take its place
    assert "\n" not in str(error.value) and not (tmp_path / "downloads").exists()


def test_a_download_is_kept_and_checked_each_time(source, tmp_path):
    downloads = tmp_path / "downloads"
    copy = locate(source, None, downloads)
    assert copy == downloads / "table.csv" and copy.read_text() == "a\n1\n"
    (tmp_path / "public/table.csv").unlink()
    assert locate(source, None, downloads) == copy
    copy.write_text("torn")
    with pytest.raises(InputError, match=source.url_sha256):
        locate(source, None, downloads)


def test_a_download_with_another_checksum_is_refused_and_not_kept(source, tmp_path):
    (tmp_path / "public/table.csv").write_text("a\n2\n")
    with pytest.raises(InputError, match=f"{source.url}: expected SHA-256 {source.url_sha256}"):
        locate(source, None, tmp_path / "downloads")
    assert not list((tmp_path / "downloads").iterdir())


@contextlib.contextmanager
def server(reply):
    """Answer each connection with `reply`; `None` says nothing until the end. Yields the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as kept:
        listener.settimeout(5)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection = kept.enter_context(listener.accept()[0])
                    if reply is not None:
                        connection.recv(10_000)
                        connection.sendall(reply)
                        connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/table.csv"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.0 404 Not Found\r\n\r\n",
        b"HTTP/1.0 503 Busy\r\n\r\n",
        None,
        b"what?\r\n\r\n",
    ],
    ids=["hangs up", "404", "503", "silent", "other protocol"],
)
def test_an_address_that_does_not_answer_is_said_in_one_line(reply, source, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with server(reply) as url:
        dead = source.model_copy(update={"url": url})
        with pytest.raises(DataUnavailable, match="data set toy: expected SEPTET_DATA, or an answer from") as error:
            locate(dead, None, tmp_path / "downloads", timeout=0.3)
    assert "\n" not in str(error.value) and url in str(error.value)
    assert not list((tmp_path / "downloads").iterdir())


def test_a_download_that_breaks_off_is_not_kept(source, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with server(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\na\n") as url, pytest.raises(InputError):
        locate(source.model_copy(update={"url": url}), None, tmp_path / "downloads", timeout=5)
    assert not list((tmp_path / "downloads").iterdir())


def test_a_download_over_http_arrives(source, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with server(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\na\n1\n") as url:
        copy = locate(source.model_copy(update={"url": url}), None, tmp_path / "downloads", timeout=5)
    assert copy.read_text() == "a\n1\n"
