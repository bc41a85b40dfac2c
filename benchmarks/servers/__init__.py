"""The servers beside which Clarion is measured, each used as its documentation recommends."""
