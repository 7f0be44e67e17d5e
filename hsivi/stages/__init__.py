"""Stages: one file is one node of the graph; each is a line of the command line."""
