"""Find the one account that a command names. LOGIN is a userName and nothing else; --id takes the directory's id."""

import click

from agent.directory.port import Directory
from agent.model.errors import NotFound
from agent.model.users import DirectoryUser, identity_key


def find(directory: Directory, login: str, *, by_id: bool = False) -> DirectoryUser:
    """Raises NotFound. Ids and names are never looked up in place of one another."""
    person = directory.get(login) if by_id else directory.find(user_name_key=identity_key(login))
    if person is None:
        what = "id" if by_id else "userName"
        raise NotFound(f"No OpsHelm account has the {what} {login}. See: opshelm-agent users list")
    return person


by_id_option = click.option("--id", "by_id", is_flag=True, help="LOGIN is the directory's id, not a userName.")
