"""Is everything set up as OpsHelm and Okta need it? Looks, changes nothing; a line for each thing, with the fix."""
