"""Puts this folder on the import path, for helpers that several kinds of tests share."""
