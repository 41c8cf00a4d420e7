"""The SCIM 2.0 wire: bodies, filters, PATCH, errors, discovery. Knows no HTTP server, no database, no settings.

Own fast paths for the forms that Okta sends; scim2-models, loaded on first use, for every other filter and PATCH.
"""
