"""A package of somebody else: its own network, loss, metric, data set and recipe, a file each.

It imports what jaxseg's pages of documentation name, and nothing of the tests.
"""
