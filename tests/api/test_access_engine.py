"""Users, keys and secrets on a running engine: the official SDK, the command line, restarts, and what lies on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fireworks
import httpx
import psutil
import pytest
from click.testing import CliRunner, Result
from fireworks import Fireworks

from client.cli.main import main
from client.config import ADMIN_KEY_FILE
from tests.processes import PATIENCE_S, EngineProcess, contents

VALUE = "canary-51e7-a-value-that-nobody-may-find"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """An engine that says all it can say."""
    process = EngineProcess(tmp_path_factory.mktemp("engine"), ("--rehearsal", "--log-level", "debug")).start()
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture
def sdk(running: EngineProcess) -> Fireworks:
    return Fireworks(api_key=running.key, account_id="local", base_url=running.context.base_url, max_retries=0)


def cli(running: EngineProcess, *words: str, key: str = "", given: str | None = None) -> Result:
    """The command, in this process: a new interpreter for each would take seconds."""
    url, whose = running.context.base_url, key or running.key
    env = {"FIREWORKS_BASE_URL": url, "FIREWORKS_API_KEY": whose, "FIREWORKS_ACCOUNT_ID": None}
    return CliRunner().invoke(main, words, input=given, env=env)


def test_the_official_sdk_makes_users_and_keys_and_deletes_them(running: EngineProcess, sdk: Fireworks) -> None:
    made = sdk.users.create(
        role="contributor", user_id="sdk-user", email="sdk@example.com", display_name="From the SDK"
    )
    assert (made.name, made.role, made.state) == ("accounts/local/users/sdk-user", "contributor", "READY")
    assert made.create_time is not None
    assert sdk.users.update("sdk-user", role="user").role == "user"
    assert sdk.users.get("sdk-user").email == "sdk@example.com"
    assert "sdk-user" in {str(user.name).rpartition("/")[2] for user in sdk.users.list()}
    key = sdk.api_keys.create("sdk-user", api_key={"display_name": "laptop", "expire_time": "2099-01-01T00:00:00Z"})
    assert key.key is not None
    assert (key.display_name, key.email, key.secure) == ("laptop", "sdk@example.com", True)
    assert key.expire_time is not None
    assert key.expire_time.year == 2099
    [listed] = list(sdk.api_keys.list("sdk-user"))
    assert (listed.key, listed.key_id) == (None, key.key_id)
    theirs = Fireworks(api_key=key.key, account_id="local", base_url=running.context.base_url, max_retries=0)
    assert [user.role for user in theirs.users.list() if str(user.name).endswith("sdk-user")] == ["user"]
    with pytest.raises(fireworks.PermissionDeniedError):
        theirs.users.create(role="admin", user_id="mine")
    sdk.api_keys.delete("sdk-user", key_id=str(key.key_id))
    with pytest.raises(fireworks.AuthenticationError):
        theirs.users.get("sdk-user")
    assert list(sdk.api_keys.list("sdk-user")) == []
    with pytest.raises(fireworks.ConflictError):
        sdk.users.create(role="user", user_id="sdk-user")


def test_the_official_sdk_sees_the_accounts(sdk: Fireworks) -> None:
    assert [account.name for account in sdk.accounts.list()] == ["accounts/fireworks", "accounts/local"]
    found = sdk.accounts.get(read_mask="name,state,createTime")
    assert (found.name, found.state, found.suspend_state) == ("accounts/local", "READY", None)
    assert found.create_time is not None


def test_the_official_sdk_keeps_secrets_and_never_gets_them_back(sdk: Fireworks) -> None:
    made = sdk.secrets.create(name="SDK_TOKEN", key_name="SDK_TOKEN", value=VALUE)
    assert (made.name, made.key_name, made.value) == ("accounts/local/secrets/sdk-token", "SDK_TOKEN", None)
    assert sdk.secrets.get("sdk-token").value is None
    assert sdk.secrets.update("sdk-token", key_name="SDK_TOKEN", value=VALUE + "2").value is None
    assert [(s.key_name, s.value) for s in sdk.secrets.list()] == [("SDK_TOKEN", None)]
    sdk.secrets.delete("sdk-token")
    with pytest.raises(fireworks.NotFoundError):
        sdk.secrets.get("sdk-token")


def test_the_command_line_has_firectls_words_in_both_orders(running: EngineProcess) -> None:
    assert cli(running, "whoami").stdout == "admin (admin) of account local\n"
    assert "accounts/fireworks" in cli(running, "list", "accounts").stdout
    assert json.loads(cli(running, "account", "get", "-o", "json").stdout)["name"] == "accounts/local"
    made = cli(running, "user", "create", "--service-account", "--user-id", "cli-bot", "--role", "inference-user")
    assert "cli-bot@local.sa.fireworks.ai" in made.stdout, made.stderr
    key = cli(running, "create", "api-key", "--service-account", "cli-bot", "--key-name", "ci").stdout.strip()
    assert key.startswith("fd_")
    assert cli(running, "whoami", key=key).stdout == "cli-bot (inference-user) of account local\n"
    refused = cli(running, "secret", "create", "--name", "X", "--from-file", "-", key=key, given=VALUE)
    assert refused.exit_code == 1
    assert "needs the role contributor" in refused.stderr
    assert cli(running, "user", "update", "cli-bot", "--role", "contributor").exit_code == 0
    assert "X" in cli(running, "secret", "create", "--name", "X", "--from-file", "-", key=key, given=VALUE).stdout
    assert VALUE not in cli(running, "list", "secrets", "-o", "json").stdout
    [listed] = json.loads(cli(running, "api-key", "list", "--user", "cli-bot", "-o", "json").stdout)
    assert listed["displayName"] == "ci"
    assert key not in cli(running, "api-key", "list", key=key).stdout
    assert cli(running, "delete", "api-key", listed["keyId"], "--user", "cli-bot").exit_code == 0
    assert "revoked" in cli(running, "whoami", key=key).stderr
    assert "replica-count" in cli(running, "quota", "list").stdout
    changed = cli(running, "update", "quota", "replica-count", "--value", "500", "-o", "json")
    assert json.loads(changed.stdout)["value"] == "500", changed.stderr
    logged = cli(running, "ls", "audit-logs", "--filter", 'message="UpdateQuota"').stdout
    assert "accounts/local/quotas/replica-count" in logged
    assert "as they were written" in cli(running, "audit-log", "verify").stdout
    assert cli(running, "user", "delete", "cli-bot").exit_code == 0


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_keys_users_and_secrets_survive_the_engine(running: EngineProcess, end: str) -> None:
    cli(running, "user", "create", "--user-id", f"stays-{end}")
    key = cli(running, "api-key", "create", "--user", f"stays-{end}").stdout.strip()
    gone = cli(running, "api-key", "create", "--user", f"stays-{end}").stdout.strip()
    ids = json.loads(cli(running, "api-key", "list", "--user", f"stays-{end}", "-o", "json").stdout)
    cli(
        running,
        "api-key",
        "delete",
        next(k["keyId"] for k in ids if gone.startswith(k["prefix"])),
        "--user",
        f"stays-{end}",
    )
    running.stop() if end == "stopped" else running.kill()
    running.start()
    assert cli(running, "whoami", key=key).stdout == f"stays-{end} (user) of account local\n"
    assert "revoked" in cli(running, "whoami", key=gone).stderr
    logged = json.loads(cli(running, "audit-logs", "list", "-o", "json").stdout)
    assert {"CreateUser", "CreateApiKey", "DeleteApiKey"} <= {entry["message"] for entry in logged}
    assert cli(running, "audit-logs", "verify").exit_code == 0


def test_no_key_and_no_secret_is_in_any_file_or_log(running: EngineProcess, sdk: Fireworks) -> None:
    sdk.secrets.create(name="CANARY", key_name="CANARY", value=VALUE)
    made = sdk.users.create(role="admin", user_id="canary")
    assert made.name
    key = str(sdk.api_keys.create("canary", api_key={}).key)
    url, wrong = running.context.base_url, "fd_wrong" + "w" * 30
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE_S) as http:
        http.get("/v1/accounts/local/deployments")
        http.get(f"/v1/accounts/{key}/deployments")  # pasted into the wrong place
        http.get("/v1/accounts/local/secrets", params={"filter": key, "orderBy": VALUE})
        half = b'{"value": "' + VALUE.encode()
        http.post("/v1/accounts/local/secrets", content=half, headers={"content-type": "application/json"})
        http.post("/v1/accounts/local/secrets", json={"name": "B", "keyName": "B", "value": VALUE, "nonsense": VALUE})
        http.post("/v1/accounts/local/users/canary/apiKeys:delete", json={"keyId": key})
        http.post("/v1/chat/completions", json={"model": key})
        http.get("/v1/accounts/local/deployments", headers={"authorization": f"Bearer {wrong}"})
        assert len(http.get("/v1/accounts/local/auditLogs").json()["auditLogs"]) > 5
    found = holders(running.data_dir, VALUE, key, wrong)
    assert found == {VALUE: [], key: [], wrong: []}
    assert holders(running.data_dir, running.key) == {running.key: [ADMIN_KEY_FILE]}
    running.stop()
    assert holders(running.data_dir, VALUE, key, wrong) == {VALUE: [], key: [], wrong: []}
    running.start()


def test_it_listens_on_loopback_alone_unless_it_is_told_otherwise(running: EngineProcess) -> None:
    assert running.process is not None
    found = psutil.Process(running.process.pid).net_connections("inet")
    assert [c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN] == ["127.0.0.1"]


def holders(folder: Path, *texts: str) -> dict[str, list[str]]:
    """The files of a folder that hold a text."""
    files = contents(folder)
    assert {"firedeck.db", "engine.log", "audit.head", "secrets.key"} <= {file.name for file, _ in files}
    return {text: [file.name for file, content in files if text.encode() in content] for text in texts}
