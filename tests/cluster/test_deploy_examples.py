"""Tests of the examples for Kubernetes, systemd, Compose and containers."""

import configparser
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import EXAMPLES, Cli
from librehps_cli.main import COMMANDS

DEPLOY = EXAMPLES / "deploy"
PREFIX = "LIBREHPS_SERVE_"


def kubernetes() -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod of the deployment, and its only container."""
    deployment = next(iter(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())))
    pod = deployment["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


def unit() -> configparser.ConfigParser:
    """The systemd unit; the variables of `Environment` are joined by new lines."""
    text = (DEPLOY / "librehps.service").read_text()
    lines = re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    parser["Service"]["Environment"] = "\n".join(lines)
    return parser


def variables(example: str) -> dict[str, str]:
    """The variables of librehps that an example sets."""
    if example == "kubernetes":
        found = {each["name"]: each["value"] for each in kubernetes()[1]["env"]}
    elif example == "compose":
        compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
        found = compose["services"]["server"]["environment"]
    elif example == "systemd":
        lines = unit()["Service"]["Environment"].splitlines()
        found = dict(line.split("=", 1) for line in lines)
    else:
        text = (EXAMPLES / "server.Dockerfile").read_text()
        found = dict(re.findall(r"(LIBREHPS_[A-Z_]+)=(\S+)", text))
    return {name: value for name, value in found.items() if name.startswith("LIBREHPS")}


@pytest.mark.parametrize("example", ["kubernetes", "compose", "systemd", "container"])
def test_the_variables_are_flags_and_parse(
    example: str, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    found = variables(example)
    command = next(each for each in COMMANDS if each.name == "serve").load()
    flags = {name.upper() for name in inspect.signature(command).parameters}
    assert {name.removeprefix(PREFIX) for name in found if name.startswith(PREFIX)} <= flags
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    # The name is checked after all other flags.
    done = cli("serve", "--token-file", token, "--reward-name", "no name")
    assert "invalid name 'no name'" in done.stderr


def test_the_probes_and_times_of_kubernetes() -> None:
    pod, server = kubernetes()
    drain = float(variables("kubernetes")["LIBREHPS_SERVE_DRAIN_S"])
    before = float(server["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > drain + before
    paths = {name: server[f"{name}Probe"]["httpGet"]["path"]
             for name in ("startup", "readiness", "liveness")}  # fmt: skip
    assert paths == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    token = variables("container")["LIBREHPS_SERVE_TOKEN_FILE"]
    assert token in [mount["mountPath"] for mount in server["volumeMounts"]]


def test_the_times_and_the_token_of_systemd_and_compose() -> None:
    service = unit()["Service"]
    drain = float(variables("systemd")["LIBREHPS_SERVE_DRAIN_S"])
    assert float(service["TimeoutStopSec"]) > drain
    assert service["LoadCredential"].partition(":")[0] == "token"
    assert service["ExecStart"].endswith("--token-file %d/token")
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["server"]
    assert float(compose["stop_grace_period"].removesuffix("s")) > float(
        variables("compose")["LIBREHPS_SERVE_DRAIN_S"]
    )
    context = DEPLOY / compose["build"]["context"]
    assert (context / compose["build"]["dockerfile"]).is_file()
    token = variables("container")["LIBREHPS_SERVE_TOKEN_FILE"]
    assert token == f"/run/secrets/{compose['secrets'][0]['target']}"
