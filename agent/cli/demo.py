"""``demo``: the whole agent against a simulated Okta org, in a temporary folder. Nothing leaves this machine."""

from typing import TYPE_CHECKING

import click

from agent.cli.command import Invocation, command, signature
from agent.cli.dashboard import new_link

if TYPE_CHECKING:
    from agent.cli.demo_stage import Narrator, Stage


@command("demo", examples=["", "--once", "--port 8765"])
@click.option("--once", is_flag=True, help="End by itself, with exit code 0 when all went as it should.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of the receiver; any free one if not given."
)
@click.option("--admin-port", type=click.IntRange(0, 65535), default=0, help="Port of the dashboard; any free one.")
@click.option(
    "--users", "people", type=click.IntRange(50, 5000), default=200, show_default=True, help="People in the org."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, other people.")
def demo(invocation: Invocation, *, once: bool, port: int, admin_port: int, people: int, seed: int) -> int:
    """See all of it work, with a simulated Okta org.

    The org pushes, both sides drift apart, the agent finds it and repairs it.

    Needs no Okta, no settings, no network. Takes about 20 seconds, then stays until Ctrl-C so that you can look around.
    """
    from agent.cli.demo_play import play
    from agent.cli.demo_stage import Narrator, open_stage

    invocation.quiet_logs()
    say = Narrator(err=invocation.json)
    with open_stage(people=people, seed=seed, port=port, admin_port=admin_port, say=say) as stage:
        result = play(stage, say)
        if once:
            text = "That was the demo; nothing of it is left. Without --once it stays, so that you can look around."
            invocation.answer("demo", {"demo": result}, text)
            return 0
        address = new_link(stage.agent.store, stage.agent.settings, signature("demo"), stage.admin)
        _addresses(stage, say, address)
        body = {
            "demo": {
                **result,
                "dashboard": address,
                "scim": stage.scim,
                "okta": stage.org.url,
                "settings": stage.config,
            }
        }
        if invocation.json:
            invocation.answer("demo", body, "")
        stage.stay(say)
    return 0


def _addresses(stage: "Stage", say: "Narrator", dashboard: str) -> None:
    say.title("Look around")
    say(f"dashboard        {dashboard}   (once, within 10 minutes)")
    say(f"metrics          {stage.admin}/metrics")
    say(f"SCIM receiver    {stage.scim}")
    say(f"simulated Okta   {stage.org.url}")
    say(f"commands         opshelm-agent --config {stage.config} plans list   (in another terminal)")
