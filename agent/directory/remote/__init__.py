"""A remote OpsHelm, or any SCIM 2.0 service provider, as the directory.

transport  calls with time-outs, retries and a rate budget         knows httpx, with deadline and patience
deadline   when a call, and all calls of a push, must have ended
provider   what the remote says it can do
wire       one account in, however sloppy the server
listing    everybody, page by page, trusted no further than it is consistent
lookup     one account by id, userName or externalId
search     pages and other searches of the gateway; filter_match reads a filter as the embedded directory does
change     the smallest body for a change, and what a read must show afterwards
judge      the rules and limits of every write, over what the store knows
writer     intent, call, read-back, outcome; step is what its call has to say
wave       several such changes side by side; batch_read reads their accounts with one search
directory  the port on top of these
"""
