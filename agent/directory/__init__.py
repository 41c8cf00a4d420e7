"""The OpsHelm side. Everything above knows ``port`` alone, and bootstrap alone which backend is behind it.

port        what a directory is: reads, writes, batches, an operator's acts; and what one can't do
backend     what both backends have in common, and how users is searched (filter_sql); operator and actions are on top of it
guarded     the one write, with rules (one account, and what it becomes), burst (limits), decisions and refusals
sql         the embedded directory: writes and batches in a transaction, rows
remote      the other one, over SCIM
"""
