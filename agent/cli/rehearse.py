"""``rehearse``: take the shape of the real org and directory along, so that settings are tried on it. Changes nothing."""

import gzip
from pathlib import Path

import click

from agent.cli import options
from agent.cli.command import Invocation, group, now
from agent.cli.files import whole


@group("rehearse")
def rehearse() -> None:
    """Try settings on one's own shape of data."""


@rehearse.command(
    "export",
    examples=[
        "shape.jsonl.gz",
        "opshelm-agent simulate --from-export shape.jsonl.gz   # then, anywhere: the same people in a simulated org",
    ],
)
@click.argument("file", metavar="FILE", type=options.FILE)
def export(invocation: Invocation, file: Path) -> None:
    """Write the org and the directory to FILE without anybody in it: every name, address and id replaced.

    What is equal stays equal, and lengths, states and times stay as they are, so that the same plan comes of it. Nothing leads
    back: what stood for what is forgotten at the end. No secrets, no reasons, no journal. FILE.gz is compressed.
    """
    from agent.reconcile import export as exports

    written = 0
    with (
        invocation.store() as store,
        invocation.okta() as okta,
        invocation.progress() as progress,
        okta.run(progress.wait),
        whole(file) as raw,
        gzip.GzipFile("", "wb", fileobj=raw) if file.suffix == ".gz" else raw as out,
    ):
        for line in exports.lines(okta, store, now(), progress):
            out.write(line)
            written += 1
    size = file.stat().st_size
    body = {"export": {"file": str(file), "lines": written, "bytes": size}}
    said = f"{file} has {written:,} lines, {size / 1e6:,.1f} MB. Try it: opshelm-agent simulate --from-export {file}"
    invocation.answer("export", body, said)
