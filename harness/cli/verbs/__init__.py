"""The verbs of the command line, one module for each group; what is heavy is imported inside of each."""
