"""``dashboard``: a link that works once, and a password that is kept as a hash alone."""

from argon2 import PasswordHasher
from click.testing import CliRunner

from agent.cli.dashboard import dashboard
from support.commands import Command, command, folder  # noqa: F401 - fixtures


def test_a_password_becomes_a_hash_that_the_settings_take() -> None:
    typed = "correct horse battery"
    done = CliRunner().invoke(dashboard, ["password"], input=f"{typed}\n{typed}\n")
    hashed = done.stdout.strip().splitlines()[-1]
    assert PasswordHasher().verify(hashed, typed)
    assert typed not in done.output


def test_a_short_password_is_refused() -> None:
    done = CliRunner().invoke(dashboard, ["password"], input="hunter2\nhunter2\n")
    assert done.exit_code == 2
    assert "at least 12 characters" in done.output


def test_a_link_is_for_the_admin_port_and_each_is_another(command: Command) -> None:  # noqa: F811 - a fixture
    made = [command("dashboard", "link")[1].strip() for _ in range(2)]
    assert all(link.startswith("http://127.0.0.1:8766/sign-in/link/") for link in made)
    assert len(set(made)) == 2
