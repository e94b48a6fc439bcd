"""librehps serve: its flags, and what it refuses to begin with."""

import json
import re
import socket
from pathlib import Path

import pytest

from conftest import Cli
from librehps.serve.options import allowed_host, named_host, url_host

ANY = "0.0.0.0"  # noqa: S104 - refused without a token


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", ANY), "token required"),
        (("--host", "::"), "token required"),
        (("--token-file", "absent"), "cannot read token file"),
        (("--media-root", "absent"), "folder not found"),
        (("--max-items", "9", "--max-queue", "8"), "--max-items 9 is larger than --max-queue 8"),
        (("--port", "70000"), "--port"),
        (("--max-items", "0"), "--max-items"),
        (("--max-body-mb", "inf"), "--max-body-mb"),
        (("--max-body-mb", "1e300"), "--max-body-mb"),
        (("--max-megapixels", "nan"), "--max-megapixels"),
        (("--read-timeout-s", "inf"), "--read-timeout-s"),
        (("--timeout-s", "nan"), "--timeout-s"),
        (("--max-wait-ms", "inf"), "--max-wait-ms"),
        (("--drain-s", "inf"), "--drain-s"),
        (("--allowed-host", "foo:8000"), "--allowed-host: invalid host name 'foo:8000'"),
        (("--allowed-host", "*"), "*.scores.example, 10.0.0.0/8 or fd00::/8: no scheme, no port"),
        (("--allowed-host", "10.0.0.1/8"), "10.0.0.1/8 has host bits set"),
        (("--allowed-host", "http://a"), "invalid network 'http://a'"),
        (("--allowed-host", "*.10.0.0.1"), "invalid suffix '*.10.0.0.1': an address"),
        (("--allowed-host", "a.*"), "invalid host name 'a.*'"),
        (("--log-format", "xml"), "--log-format"),
        (
            ("--url-host", "https://example.com"),
            "--url-host: invalid host name 'https://example.com'",
        ),
        (("--url-host", "example.com:99999"), "invalid host name"),
        (("--host", "192.0.2.1", "--token-file", "{token}"), "cannot listen on 192.0.2.1"),
    ],
)
def test_bad_arguments(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    done = cli("serve", "--model", "tiny", *(a.format(token=token) for a in arguments))
    assert done.returncode == 2, done.stderr
    assert message in re.sub(r"\s+", " ", done.stderr)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("MAX_ITEMS", "0", "(from LIBREHPS_SERVE_MAX_ITEMS)"),
        ("ALLOWED_HOST", "scores.example, a/b", "invalid network 'a/b'"),
        (
            "MEDIA_ROOT",
            "{folder} {folder}/absent",
            "(from LIBREHPS_SERVE_MEDIA_ROOT): folder not found: {folder}/absent",
        ),
        ("HOST", "10.0.0.9", "--host (from LIBREHPS_SERVE_HOST) 10.0.0.9: token required"),
        ("DOWNLOAD", "perhaps", "(from LIBREHPS_SERVE_DOWNLOAD)"),
        ("MODEL", "{folder}/absent", "{folder}/absent"),
    ],
)
def test_flags_as_environment_variables(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    variable: str, value: str, message: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(f"LIBREHPS_SERVE_{variable}", value.format(folder=tmp_path))
    monkeypatch.setenv("LIBREHPS_MODEL", "tiny")
    done = cli("serve", "--port", "0")
    assert done.returncode == (1 if variable == "MODEL" else 2), done.stderr
    assert message.format(folder=tmp_path) in re.sub(r"\s+", " ", done.stderr)


@pytest.mark.parametrize(
    ("variable", "value", "message", "code"),
    [
        ("PORT", "tcp://10.0.0.1:80", "(from LIBREHPS_SERVE_PORT)", 2),
        ("URL_HOST", "a/b", "--url-host (from LIBREHPS_SERVE_URL_HOST): invalid host", 2),
        ("MODEL", "absent", "absent", 1),
    ],
)
def test_errors_before_the_start_are_json_lines(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str, code: int
) -> None:
    monkeypatch.setenv("LIBREHPS_SERVE_LOG_FORMAT", "json")
    monkeypatch.setenv("LIBREHPS_MODEL", "tiny")
    monkeypatch.setenv("LIBREHPS_SERVE_MAX_ITEM", "9")
    monkeypatch.setenv(f"LIBREHPS_SERVE_{variable}", value)
    done = cli("serve", *(() if variable == "PORT" else ("--port", "0")))
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == code
    assert message in lines[-1]["message"] and lines[-1]["level"] == "error" and lines[-1]["hint"]
    if variable != "PORT":
        assert lines[0]["level"] == "warning"
        assert "unknown variable LIBREHPS_SERVE_MAX_ITEM ignored" in lines[0]["message"]


def test_a_flag_on_the_command_line_comes_first(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable, value in {"PORT": "70000", "URL_HOST": "a/b"}.items():
        monkeypatch.setenv(f"LIBREHPS_SERVE_{variable}", value)
    done = cli("serve", "--port", "0", "--url-host", "x", "--media-root", tmp_path / "absent")
    assert "folder not found" in done.stderr


@pytest.mark.parametrize("content", ["", "short", "two words of some length", "é" * 20])
def test_files_that_hold_no_token(cli: Cli, tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    done = cli("serve", "--model", "tiny", "--token-file", file)
    assert done.returncode == 2 and str(file) in done.stderr


def test_a_port_that_is_taken(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = cli("serve", "--model", "tiny", "--port", taken.getsockname()[1])
    assert done.returncode == 2 and "cannot listen" in done.stderr


def test_names_of_hosts_as_requests_have_them() -> None:
    spelled = {"Scores.Example.": "scores.example", "[::1]": "::1", "10.0.0.1": "10.0.0.1"}
    assert {text: named_host(text) for text in spelled} == spelled
    spelled = {"10.0.0.0/8": "10.0.0.0/8", "FD00::/8": "fd00::/8", "*.A.Example.": "*.a.example"}
    assert {text: allowed_host(text) for text in spelled} == spelled
    spelled = {"Example.com.": "example.com", "example.com.:8080": "example.com:8080",
               "[2606::1]:8080": "2606::1:8080", "2606::1": "2606::1"}  # fmt: skip
    assert {text: url_host(text) for text in spelled} == spelled


def test_a_token_that_others_can_read_and_a_host_that_others_cannot_name(
    cli: Cli, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    for mode in (0o644, 0o600):
        token.chmod(mode)
        with socket.create_server((ANY, 0)) as taken:
            # Ends before the model is loaded.
            done = cli("serve", "--model", "tiny", "--host", ANY, "--token-file", token,
                       "--port", taken.getsockname()[1])  # fmt: skip
        assert ("can read or change the token" in done.stderr) == (mode == 0o644)
        assert "without --allowed-host refuses requests from other machines" in done.stderr
