"""Work that takes a while and has a topic: what tasks (`clarion.progress`) and generated text share.

Status words, who sees a work's value, errors that people may read, leases, cancelling, and what to do when nobody
looks any more.
"""
