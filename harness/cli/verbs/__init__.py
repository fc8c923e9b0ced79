"""The verbs of the command line, a module a group; what is heavy is imported inside of each."""
