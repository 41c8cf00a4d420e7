"""``import``: OpsHelm accounts into Okta. list looks, plan writes down what would be done, apply does it."""

from typing import Unpack

import click

from agent.cli import options
from agent.cli.command import Invocation, asked_to_stop, group, now, operator, width
from agent.cli.completion import plan_ids
from agent.cli.import_choice import Whom, choice_of, refuse_contradictions


@group("import")
def imports() -> None:
    """Bring OpsHelm accounts that Okta lacks into Okta.

    Match, create, assign. docs/import.md has the rules.
    """


@imports.command(
    "list",
    examples=[
        "",
        "--class none",
        "--csv > accounts.csv   # choose in a spreadsheet, then: import plan --csv accounts.csv",
    ],
)
@click.option("--class", "kind", type=click.Choice(["exact", "partial", "none"]), help="Only this class.")
@options.as_csv
def list_imports(invocation: Invocation, kind: str | None, as_csv: bool) -> None:
    """Sort every OpsHelm account that Okta's app doesn't know, with the reason; changes nothing."""
    from agent.cli import import_answers

    with invocation.agent() as agent:
        with invocation.progress() as progress:
            survey = agent.importer().survey(progress)
        at = now()
    document = import_answers.survey_json(survey, kind, at, invocation.settings.imports)
    if as_csv and not invocation.json:
        click.echo(import_answers.survey_csv(document))
        return
    invocation.answer("imports", document, lambda: import_answers.survey_text(document, width=width()))


@imports.command(
    "plan",
    examples=[
        "--all",
        "--class exact --limit 50",
        "--user ann@example.com --user bob@example.com",
        "--user ann@example.com --okta-id 00u1abcd2EFGH3ijk4x7   # this Okta user it is",
        "--csv accounts.csv",
    ],
)
@click.option("--all", "everybody", is_flag=True, help="Exact and none; not those listed apart or held.")
@click.option("--class", "kind", type=click.Choice(["exact", "none"]), help="Only this class.")
@click.option(
    "--user", "users", metavar="LOGIN", multiple=True, help="This account, whatever its class; may be repeated."
)
@click.option(
    "--csv",
    "csv_file",
    type=click.File("r", encoding="utf-8-sig"),
    help="Chosen accounts: column login, perhaps decide.",
)
@click.option("--okta-id", metavar="ID", help="With one --user: it is this Okta user.")
@click.option("--create", is_flag=True, help="With one --user: it is none of those Okta users; make a new one.")
@click.option("--limit", type=click.IntRange(1), help="At most so many accounts; the others wait for the next import.")
@click.option("--detailed-exitcode", is_flag=True, help="3 if there is something to do, 4 if something is held.")
def plan_import(invocation: Invocation, *, limit: int | None, detailed_exitcode: bool, **whom: "Unpack[Whom]") -> int:
    """Make and store a plan. Nothing is written to Okta before import apply."""
    from agent.cli import answers, import_answers

    refuse_contradictions(whom)
    with invocation.agent() as agent:
        choice = choice_of(whom, agent.directory, limit)
        with invocation.progress() as progress:
            report = agent.importer().plan(choice, actor=operator(), progress=progress)
    code = answers.exit_code(report, dry=True, detailed=detailed_exitcode)
    body = {"plan": import_answers.plan_json(report.plan), "run": answers.run_json(report, code)}
    invocation.answer("plan", body, lambda: import_answers.planned_text(report, shown=answers.SHOWN))
    return code


@imports.command("apply", examples=["81"])
@click.argument("plan_id", metavar="PLAN", type=options.ROW_ID, shell_complete=plan_ids)
@options.wait
def apply_import(invocation: Invocation, plan_id: int, wait: float) -> int:
    """Carry out a stored plan: read again, plan again, create and assign what both want; the rest is stale.

    Once, within 24 hours. An apply that was interrupted can be started again: it looks before it does anything twice.
    """
    from agent.cli import answers, import_answers

    with invocation.agent() as agent:
        importer = agent.importer()
        with invocation.progress() as progress, asked_to_stop(agent.ask_to_stop):
            report = importer.apply(plan_id, actor=operator(), wait=wait, progress=progress)
    body = {"run": answers.run_json(report, report.exit_code), "plan": import_answers.plan_json(report.plan)}
    invocation.answer("run", body, lambda: import_answers.applied_text(report, shown=answers.SHOWN))
    return report.exit_code
