"""``simulate`` as a process: what it prints, how it starts and ends, what it says when it can't."""

import signal
import socket
import subprocess
import sys

import httpx

RUN = [sys.executable, "-c", "from agent.cli.simulate import simulate; simulate()"]


def test_print_env_names_org_app_and_token_and_ends() -> None:
    options = ["--print-env", "--port", "9999", "--app-id", "0oaX", "--token", "t"]
    done = subprocess.run([*RUN, *options], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "export OPSHELM_OKTA__ORG_URL=http://127.0.0.1:9999",
        "export OPSHELM_OKTA__APP_ID=0oaX",
        "export OPSHELM_OKTA__API_TOKEN=t",
    ]


def test_it_serves_until_it_is_told_to_end() -> None:
    with subprocess.Popen([*RUN, "--port", "0", "--users", "3"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        url = next(word for word in line.split() if word.startswith("http")).rstrip(".")
        people = httpx.get(f"{url}/api/v1/users", headers={"Authorization": "SSWS simulated-token"}, trust_env=False)
        assert len(people.json()) == 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=90) == 0


def test_a_port_in_use_is_one_line_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([*RUN, "--port", port, "--users", "0"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"Port {port} can't be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_scim_url_without_a_key_is_a_usage_error() -> None:
    done = subprocess.run([*RUN, "--scim-url", "http://127.0.0.1:1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "belong together" in done.stderr
