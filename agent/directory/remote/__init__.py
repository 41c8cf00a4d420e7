"""A remote OpsHelm, or any SCIM 2.0 service provider, as the directory: a mirror in ``users``, and an outbox of calls.

transport  HTTP: calls with time-outs, retries and a rate budget   knows httpx, with route, deadline, patience, trouble
wire       one account in, however sloppy the server
provider   what the remote says it can do
listing    everybody, page by page, trusted no further than it is consistent
lookup     one account by id, userName or externalId
mirror     what was seen of the accounts, as rows of users; when it may be believed
reader     from the one to the other: single accounts, and everybody
change     the smallest body for a change, and what a read must show afterwards
keeps      what it keeps of an account, as its answers have shown
caller     one call that changes an account, and what became of it
ledger     what the store writes around a call: the checks and the intent before, the outcome after
outbox     one write: read, judge, call, settle; several of a run together
unfinished calls whose outcome isn't known, read back
batches    a plan's actions, some at a time
directory  the port on top of these
"""
